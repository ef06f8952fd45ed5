package chart

import (
	"context"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// account speaks to the server as somebody, and says what it was told.
type account struct {
	ctx    context.Context
	config *rest.Config
	core   kubernetes.Interface
}

func as(t *testing.T, config *rest.Config) account {
	t.Helper()
	return account{ctx: t.Context(), config: config, core: clientOf(t, config)}
}

// anybody speaks as a user of some name, by the administrator's right to.
func anybody(t *testing.T, config *rest.Config, user string) account {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	return as(t, config)
}

// bearer speaks with a token of one of the chart's accounts. With a pod it is that pod's.
func bearer(t *testing.T, config *rest.Config, name string, pod *corev1.Pod) account {
	t.Helper()
	ask := &authenticationv1.TokenRequest{}
	if pod != nil {
		ask.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	}
	got, err := clientOf(t, config).CoreV1().ServiceAccounts(space).CreateToken(t.Context(), name, ask, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	own := rest.AnonymousClientConfig(config)
	own.QPS, own.BearerToken = -1, got.Status.Token
	return as(t, own)
}

// write sends JSON; merge patches are PATCH, lists of operations JSONPATCH, forced applications APPLY.
func (a account) write(verb, path, body string) error {
	kind := "application/json"
	switch verb {
	case "PATCH":
		kind = string(types.MergePatchType)
	case "JSONPATCH":
		verb, kind = "PATCH", string(types.JSONPatchType)
	case "APPLY":
		verb, kind, path = "PATCH", string(types.ApplyPatchType), path+"&force=true&fieldManager=x"
	}
	return a.core.CoreV1().RESTClient().Verb(verb).RequestURI(path).SetHeader("Content-Type", kind).Body([]byte(body)).Do(a.ctx).Error()
}

func (a account) read(path string) error {
	return a.core.CoreV1().RESTClient().Get().RequestURI(path).Do(a.ctx).Error()
}

// pretending is the same account that says to be somebody else.
func (a account) pretending(t *testing.T, user string, groups ...string) account {
	t.Helper()
	config := rest.CopyConfig(a.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	return as(t, config)
}

// deed is one thing that somebody tries.
type deed struct {
	what string
	do   func(account) error
	no   string // what the server says to it; "" is that it is done
}

func writes(what, no, verb, path, body string) deed {
	return deed{what, func(a account) error { return a.write(verb, path, body) }, no}
}

func reads(what, no, path string) deed {
	return deed{what, func(a account) error { return a.read(path) }, no}
}

// table tries all, and prints what the server said.
func table(t *testing.T, who string, a account, deeds []deed) {
	t.Helper()
	var out strings.Builder
	for _, d := range deeds {
		err := d.do(a)
		answer := "done"
		if err != nil {
			answer = err.Error()
		}
		switch {
		case d.no == "" && err != nil:
			t.Errorf("%s may not: %s: %v", who, d.what, err)
		case d.no != "" && (err == nil || !strings.Contains(answer, d.no)):
			t.Errorf("%s: %s: the server says %q, want it to name %q", who, d.what, answer, d.no)
		}
		if cut := 150; len(answer) > cut {
			answer = answer[:cut] + "..."
		}
		out.WriteString("\n  " + d.what + strings.Repeat(" ", max(1, 48-len(d.what))) + answer)
	}
	t.Logf("%s:%s", who, out.String())
}
