package kube

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/test/cluster"
)

var (
	plane    cluster.Plane
	prepared sync.Once
)

func TestMain(m *testing.M) {
	code := m.Run()
	plane.Stop()
	os.Exit(code)
}

// rights are all that an agent is given.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: agent}
rules:
- {apiGroups: [sluice.dev], resources: [nodeconfigs], verbs: [get, list, watch]}
- {apiGroups: [sluice.dev], resources: [nodeconfigs/status], verbs: [update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: agent}
subjects: [{kind: User, name: agent, apiGroup: rbac.authorization.k8s.io}]
`

// world is the real API server, and a way to it that can be cut.
type world struct {
	*testing.T
	admin *Client
	url   string

	way           *httptest.Server
	cut           atomic.Bool // nobody answers
	reads, writes atomic.Int64
	date          atomic.Pointer[string] // what the server says instead of its time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", plane.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	prepared.Do(func() {
		plane.Kubectl(t, "apply", "-f", filepath.Join("..", "..", "..", "api", "v1alpha1", "crds"))
		plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
		plane.Apply(t, rights)
	})
	w := &world{T: t}
	w.admin, err = Connect(config, nil)
	w.must(err)
	agent := rest.CopyConfig(config)
	agent.Impersonate.UserName = "agent"
	transport, err := rest.TransportFor(agent)
	w.must(err)
	target, err := url.Parse(config.Host)
	w.must(err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) }
	proxy.ModifyResponse = func(r *http.Response) error {
		if date := w.date.Load(); date != nil {
			r.Header.Set("Date", *date)
		}
		return nil
	}
	way := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.cut.Load() {
			panic(http.ErrAbortHandler)
		}
		if r.Method == http.MethodGet {
			w.reads.Add(1)
		} else {
			w.writes.Add(1)
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() { way.CloseClientConnections(); way.Close() })
	w.url, w.way = way.URL, way
	t.Cleanup(w.remove)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// home makes the NodeConfig of w1, as the controller does, and says which node it is of.
func (w *world) home() (uid string) {
	w.Helper()
	w.remove()
	plane.Apply(w, "{apiVersion: v1, kind: Node, metadata: {name: w1}}")
	uid = plane.Kubectl(w, "get", "node", "w1", "-o", "jsonpath={.metadata.uid}")
	home := &v1alpha1.NodeConfig{ObjectMeta: metav1.ObjectMeta{Name: "w1", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Node", Name: "w1", UID: types.UID(uid)},
	}}}
	w.must(w.admin.api.Post().Resource(resource).Body(home).Do(w.Context()).Error())
	return uid
}

// remove takes it away, where there is one.
func (w *world) remove() {
	w.Helper()
	err := w.admin.api.Delete().Resource(resource).Name("w1").Do(context.Background()).Error()
	if !apierrors.IsNotFound(err) {
		w.must(err)
	}
}

func (w *world) is() *v1alpha1.NodeConfig {
	w.Helper()
	home, err := w.admin.get(w.Context(), "w1")
	w.must(err)
	return home
}

// send is what the controller does.
func (w *world) send(o nodeops.Order) {
	w.Helper()
	home := w.is()
	spec, err := v1alpha1.SpecOf(o)
	w.must(err)
	home.Spec = spec
	w.must(w.admin.api.Put().Resource(resource).Name("w1").Body(home).Do(w.Context()).Error())
}

// spoil is what somebody else does to the status.
func (w *world) spoil() {
	w.Helper()
	plane.Kubectl(w, "patch", "nodeconfig", "w1", "--subresource=status", "--type=merge", "-p", `{"status": {"phase": "failed", "why": "spoilt"}}`)
}

func (w *world) told() nodeops.Report {
	w.Helper()
	r, err := w.is().Status.Report()
	w.must(err)
	return r
}

// inbox is a new process of the agent, whose pod runs on the node with that UID.
func (w *world) inbox(uid string) (*Inbox, *said) {
	w.Helper()
	out := &said{}
	log := slog.New(slog.NewTextHandler(out, nil))
	client, err := Connect(&rest.Config{Host: w.url, QPS: -1}, log)
	w.must(err)
	token := tokenOf(uid)
	ours := newAuthority(w.T)
	kept := http.NotFound
	url := ours.serve(w.T, ServerName, 0, func(rw http.ResponseWriter, r *http.Request) { kept(rw, r) })
	out.keep = func(c machine.Config) { kept = gives(w.T, token, c) }
	return &Inbox{Client: client, Node: "w1", Log: log, Content: content(w.T, ours.pem, token, url)}, out
}

// tokenOf is the token of a pod on a node.
func tokenOf(uid string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"kubernetes.io": {"node": {"name": "w1", "uid": %q}}}`, uid)) + ".e30"
}

// said is what an agent logs, and what its controllers keep for it.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
	keep func(machine.Config)
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) count(words string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), words)
}

// await asks until it is so.
func (w *world) await(what string, is func() bool) {
	w.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); {
		if time.Now().After(deadline) {
			w.Fatalf("it never comes to be: %s", what)
		}
		select {
		case <-w.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
