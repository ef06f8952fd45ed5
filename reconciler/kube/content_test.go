package kube

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// A token is reviewed once a minute, so that one whose pod is gone dies within it; an order is read
// anew each time, so that an agent gets what it names now.
func TestTokensAreBelievedForAMinute(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: agents}}
	_, err := w.client.core.CoreV1().ServiceAccounts(w.namespace).Create(t.Context(), account, creating)
	w.must(err)
	pod := w.pod("agent", "w1", func(p *corev1.Pod) { p.Spec.ServiceAccountName = agents })
	ask := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{
		Audiences: []string{audience}, BoundObjectRef: &authentication.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	got, err := w.client.core.CoreV1().ServiceAccounts(w.namespace).CreateToken(t.Context(), agents, ask, creating)
	w.must(err)
	token := got.Status.Token

	reviews := 0
	config := rest.CopyConfig(w.client.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				reviews++
			}
			return next.RoundTrip(r)
		})
	})
	c := &Content{Client: connect(t, config), Namespace: w.namespace}
	want := func(node string, order int, reviewed int) {
		t.Helper()
		name, d, err := c.Ordered(t.Context(), token)
		w.must(err)
		if order >= 0 && d != small(order).Digest() || order < 0 && d != "" || name != node || reviews != reviewed {
			t.Errorf("%q is ordered %q after %d reviews, want %q, config %d, %d", name, d.Short(), reviews, node, order, reviewed)
		}
	}
	want("w1", -1, 1)
	for i := range 3 {
		w.must(w.fleet().Send(t.Context(), nodeops.Order{Node: "w1", Generation: uint64(i + 1), Config: small(i).Digest(), Ceiling: impact.Reboot}))
		want("w1", i, 1)
	}
	now := int64(0)
	w.must(w.client.core.CoreV1().Pods(w.namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	want("w1", 2, 1) // within the minute
	known := c.callers[sha256.Sum256([]byte(token))]
	if left := time.Until(known.until); left > time.Minute {
		t.Errorf("it is believed for %s", left)
	}
	w.await("the token is refused", func() bool { // the server itself believes it for some seconds
		known.until = time.Now().Add(-time.Nanosecond)
		c.callers[sha256.Sum256([]byte(token))] = known
		name, _, err := c.Ordered(t.Context(), token)
		w.must(err)
		return name == ""
	})
	delete(c.callers, sha256.Sum256([]byte(token)))
	reviews = 0
	want("", -1, 1)
	want("", -1, 2) // what was refused is not remembered
}

// What is plainly not an agent's token is never asked about: anybody who reaches the port can send it.
func TestJunkIsNotReviewed(t *testing.T) {
	reviews := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reviews++
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	c := &Content{Client: connect(t, &rest.Config{Host: server.URL}), Namespace: "sluice-system"}
	token := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".AA"
	}
	const agent = `"sub": "system:serviceaccount:sluice-system:sluice-agent"`
	for what, row := range map[string]struct {
		token string
		asked int
	}{
		"a word":                        {"garbage", 0},
		"dots":                          {"..", 0},
		"what is no base64":             {"e30.!.AA", 0},
		"what is no JSON":               {token("sub"), 0},
		"what is no object":             {token("[]"), 0},
		"no claims":                     {token("{}"), 0},
		"another audience":              {token(`{` + agent + `, "aud": ["https://kubernetes.default.svc"]}`), 0},
		"no audience":                   {token(`{` + agent + `}`), 0},
		"another account":               {token(`{"sub": "system:serviceaccount:sluice-system:default", "aud": ["sluice-content"]}`), 0},
		"its namesake elsewhere":        {token(`{"sub": "system:serviceaccount:default:sluice-agent", "aud": ["sluice-content"]}`), 0},
		"one that says it is right":     {token(`{` + agent + `, "aud": ["sluice-content"]}`), 1},
		"one that says so among others": {token(`{` + agent + `, "aud": ["a", "sluice-content"]}`), 1},
		"one audience without a list":   {token(`{` + agent + `, "aud": "sluice-content"}`), 1},
		"four parts":                    {token(`{`+agent+`, "aud": "sluice-content"}`) + ".AA", 0},
	} {
		reviews = 0
		node, _, err := c.Ordered(t.Context(), row.token)
		if reviews != row.asked || node != "" || (err != nil) != (row.asked > 0) {
			t.Errorf("%s: %d reviews, node %q, %v, want %d", what, reviews, node, err, row.asked)
		}
	}
}

// However many tokens there are, so many are remembered and no more.
func TestTokensAreForgotten(t *testing.T) {
	c := &Content{}
	now := time.Now()
	for i := range mostKnown * 2 {
		c.remember(sha256.Sum256([]byte{byte(i), byte(i >> 8)}), caller{node: "n", until: now.Add(believed)}, now)
		if len(c.callers) > mostKnown {
			t.Fatalf("%d tokens are remembered", len(c.callers))
		}
	}
	c.remember([sha256.Size]byte{}, caller{node: "n", until: now.Add(2 * believed)}, now.Add(believed+1))
	if len(c.callers) != 1 {
		t.Errorf("%d tokens are remembered of which one is in force", len(c.callers))
	}
}
