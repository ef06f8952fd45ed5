package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/nodeops/join"
	"github.com/sluice-gitops/sluice/reconciler/kube"
	"github.com/sluice-gitops/sluice/test/cluster"
)

const contentSpace = "content"

// contentRig is a cluster of two nodes with an agent's pod and an order each.
type contentRig struct {
	*testing.T
	plane  *cluster.Plane
	client *kube.Client
	fleet  *kube.Fleet
	log    quietly
}

// quietly is a log that many write to.
type quietly struct {
	mu sync.Mutex
	bytes.Buffer
}

func (q *quietly) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.Buffer.Write(p)
}

func config(word string) machine.Config { return machine.Config{KernelArgs: []string{word}} }

func newContentRig(t *testing.T, plane *cluster.Plane) *contentRig {
	kubeconfig := plane.Kubeconfig(t)
	plane.Kubectl(t, "apply", "-f", filepath.Join("..", "..", "api", "v1alpha1", "crds"))
	plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	plane.Apply(t, `
{apiVersion: v1, kind: List, items: [
  {apiVersion: v1, kind: Namespace, metadata: {name: content}},
  {apiVersion: v1, kind: ServiceAccount, metadata: {name: sluice-agent, namespace: content}},
  {apiVersion: v1, kind: ServiceAccount, metadata: {name: sluice-agent, namespace: default}},
  {apiVersion: v1, kind: ServiceAccount, metadata: {name: stranger, namespace: content}},
  {apiVersion: v1, kind: Node, metadata: {name: n1}},
  {apiVersion: v1, kind: Node, metadata: {name: n2}},
  {apiVersion: v1, kind: Node, metadata: {name: idle}},
  {apiVersion: v1, kind: Node, metadata: {name: lost}},
  {apiVersion: v1, kind: Node, metadata: {name: reborn}}]}`)
	for name, node := range map[string]string{"p1": "n1", "p2": "n2", "idle": "idle", "lost": "lost", "reborn": "reborn", "floating": ""} {
		agentPod(t, plane, contentSpace, name, "sluice-agent", node)
	}
	agentPod(t, plane, contentSpace, "strange", "stranger", "n1")
	agentPod(t, plane, "default", "elsewhere", "sluice-agent", "n1")
	client, err := kube.Open(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	r := &contentRig{T: t, plane: plane, client: client, fleet: &kube.Fleet{Client: client, Name: "f", Enroll: true}}
	t.Cleanup(r.fleet.Close)
	store := &kube.Store{Client: client, Namespace: contentSpace, Fleet: "f"}
	for node, c := range map[string]machine.Config{"n1": config("one"), "n2": config("two"), "lost": config("lost"), "reborn": config("one")} {
		if node != "lost" {
			r.must(store.Keep(t.Context(), c))
		}
		r.order(node, c.Digest())
	}
	return r
}

func (r *contentRig) order(node string, d machine.Digest) {
	r.Helper()
	r.must(r.fleet.Send(r.Context(), nodeops.Order{Node: node, Generation: 1, Config: d, Ceiling: impact.Reboot}))
}

func agentPod(t *testing.T, plane *cluster.Plane, namespace, name, account, node string) {
	t.Helper()
	if node == "" {
		node = `""`
	}
	plane.Apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: %s},
spec: {serviceAccountName: %s, nodeName: %s, terminationGracePeriodSeconds: 0, schedulerName: nobody, containers: [{name: c, image: none}]}}`, name, namespace, account, node))
}

func (r *contentRig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// token is one of an account; of a pod it is bound to it.
func (r *contentRig) token(account, audience, pod string) string {
	r.Helper()
	args := []string{"create", "token", account, "-n", contentSpace, "--audience", audience}
	if pod != "" {
		args = append(args, "--bound-object-kind", "Pod", "--bound-object-name", pod)
	}
	return strings.TrimSpace(r.plane.Kubectl(r.T, args...))
}

// server answers as a replica does that has just started.
func (r *contentRig) server(kubeconfig string) *join.Server {
	r.Helper()
	client, err := kube.Open(kubeconfig)
	r.must(err)
	crowd, err := client.Crowd()
	r.must(err)
	log := slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &join.Server{Registry: &kube.Content{Client: crowd, Namespace: contentSpace}, Log: log}
}

func ask(s *join.Server, token string, d machine.Digest) int {
	q := httptest.NewRequest(http.MethodGet, "/configs/"+string(d), nil)
	q.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, q)
	return w.Code
}

// older is a token that is older by so much, signed by the cluster's own key.
func (r *contentRig) older(by time.Duration, token string) string {
	r.Helper()
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	r.must(err)
	var claims map[string]any
	r.must(json.Unmarshal(payload, &claims))
	for _, when := range []string{"iat", "nbf", "exp"} {
		claims[when] = int64(claims[when].(float64)) - int64(by.Seconds())
	}
	payload, err = json.Marshal(claims)
	r.must(err)
	key, err := os.ReadFile(filepath.Join(filepath.Dir(r.plane.Kubeconfig(r.T)), "pki", "sa.key"))
	r.must(err)
	block, _ := pem.Decode(key)
	signer, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	r.must(err)
	said := parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(said))
	a, b, err := ecdsa.Sign(rand.Reader, signer.(*ecdsa.PrivateKey), sum[:])
	r.must(err)
	signature := make([]byte, 64)
	a.FillBytes(signature[:32])
	b.FillBytes(signature[32:])
	return said + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestContentOnKubernetes(t *testing.T) {
	var plane cluster.Plane
	defer plane.Stop()
	r := newContentRig(t, &plane)
	one, two := config("one").Digest(), config("two").Digest()
	r.serves(one)
	r.servesThroughRotations(one)

	gone := r.token("sluice-agent", "sluice-content", "p2")
	reborn := r.token("sluice-agent", "sluice-content", "reborn")
	before := r.server(plane.Kubeconfig(t))
	if code := ask(before, reborn, one); code != 200 {
		t.Errorf("before its node is born again an agent gets %d", code)
	}
	plane.Kubectl(t, "delete", "pod", "p2", "-n", contentSpace, "--force", "--grace-period=0")
	plane.Kubectl(t, "delete", "node", "reborn")
	plane.Apply(t, "{apiVersion: v1, kind: Node, metadata: {name: reborn}}")
	r.order("reborn", one)
	agentPod(t, &plane, contentSpace, "p2", "sluice-agent", "n2") // its namesake

	hung, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections, and says nothing
	r.must(err)
	defer hung.Close()
	for _, c := range []struct {
		name, token string
		want        machine.Digest
		code        int
		api         string // in the place of the real one
	}{
		{"the agent of a node gets what its order names", r.token("sluice-agent", "sluice-content", "p1"), one, 200, ""},
		{"it gets no other pool's", r.token("sluice-agent", "sluice-content", "p1"), two, 403, ""},
		{"a node without an order gets none", r.token("sluice-agent", "sluice-content", "idle"), one, 403, ""},
		{"what an order names and is not kept is not found", r.token("sluice-agent", "sluice-content", "lost"), config("lost").Digest(), 404, ""},
		{"a pod that runs nowhere has no node", r.token("sluice-agent", "sluice-content", "floating"), one, 401, ""},
		{"a token that is bound to no pod is refused", r.token("sluice-agent", "sluice-content", ""), one, 401, ""},
		{"so is one for another audience", r.token("sluice-agent", "https://kubernetes.default.svc", "p1"), one, 401, ""},
		{"and one of another account on the same node", r.token("stranger", "sluice-content", "strange"), one, 401, ""},
		{"and one of a namesake in another namespace", strings.TrimSpace(plane.Kubectl(t, "create", "token", "sluice-agent", "-n", "default", "--audience", "sluice-content", "--bound-object-kind", "Pod", "--bound-object-name", "elsewhere")), one, 401, ""},
		{"and one of a pod that is gone, although there is a namesake", gone, two, 401, ""},
		{"one of an earlier node of that name gets nothing", reborn, one, 403, ""},
		{"one that is signed again is as good as ever", r.older(0, r.token("sluice-agent", "sluice-content", "p1")), one, 200, ""},
		{"one whose time is over is refused", r.older(2*time.Hour, r.token("sluice-agent", "sluice-content", "p1")), one, 401, ""},
		{"what is no token is refused", "garbage", one, 401, ""},
		{"where nothing answers nobody knows", r.token("sluice-agent", "sluice-content", "p1"), one, 503, "127.0.0.1:1"},
		{"nor where the server hangs", r.token("sluice-agent", "sluice-content", "p1"), one, 503, hung.Addr().String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			kubeconfig := plane.Kubeconfig(t)
			if c.api != "" {
				kubeconfig = elsewhere(t, kubeconfig, c.api)
			}
			if code := ask(r.server(kubeconfig), c.token, c.want); code != c.code {
				t.Errorf("answered with %d, want %d", code, c.code)
			}
			if strings.Contains(r.log.String(), c.token) {
				t.Error("the token is in the log")
			}
		})
	}
}

// elsewhere is a kubeconfig whose server is at another address.
func elsewhere(t *testing.T, kubeconfig, addr string) string {
	t.Helper()
	data, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config")
	data = regexp.MustCompile(`https://[0-9.:]+`).ReplaceAll(data, []byte("https://"+addr))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serves holds that an agent, which knows nothing but the ConfigMap and its token, gets its config
// from a replica that has just started.
func (r *contentRig) serves(d machine.Digest) {
	r.Helper()
	l, err := (&net.ListenConfig{}).Listen(r.Context(), "tcp", "127.0.0.1:0")
	r.must(err)
	addr := l.Addr().String()
	l.Close()
	codes := make(chan int, 1000)
	end, err := serveContent(r.Context(), r.client, contentSpace, addr, func(code int) { codes <- code }, slog.New(slog.NewTextHandler(&r.log, nil)))
	r.must(err)
	defer end()
	token := r.token("sluice-agent", "sluice-content", "p1")
	for deadline := time.Now().Add(2 * time.Minute); ; { // until there is a certificate
		err := fetch(r.Context(), addr, r.trusted(), token, d)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			r.Fatalf("an agent gets nothing: %v\n%s", err, r.log.String())
		}
	}
	if code := <-codes; code != 200 {
		r.Errorf("counted is %d", code)
	}
}

// servesThroughRotations holds that agents are served while authority and certificate change, be
// it that their bundle is of before or of after.
func (r *contentRig) servesThroughRotations(d machine.Digest) {
	r.Helper()
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	r.must(err)
	certificate := &kube.Certificate{Client: r.client, Namespace: contentSpace, Log: slog.New(slog.NewTextHandler(&r.log, nil))}
	r.must(certificate.Check(ctx, time.Now))
	over := make(chan error, 1)
	server := r.server(r.plane.Kubeconfig(r.T))
	go func() { over <- server.Serve(ctx, l, certificate.Get) }()
	token := r.token("sluice-agent", "sluice-content", "p1")
	try := func(when string, roots string, want bool) {
		r.Helper()
		if err := fetch(ctx, l.Addr().String(), roots, token, d); (err == nil) != want {
			r.Errorf("%s: served %t, want %t: %v", when, err == nil, want, err)
		}
	}
	damage := func(key string) {
		r.Helper()
		r.plane.Kubectl(r.T, "patch", "secret", "sluice-content-tls", "-n", contentSpace, "--type=merge", "-p", fmt.Sprintf(`{"data": {%q: null}}`, key))
		r.must(certificate.Check(ctx, time.Now))
	}
	first := r.trusted()
	try("at first", first, true)
	damage("ca.key")
	second := r.trusted()
	if first == second {
		r.Error("the authority has not changed")
	}
	try("a new authority, and an agent that does not know it yet", first, true)
	try("a new authority, and an agent that knows both", second, true)
	damage("tls.key")
	try("a certificate of the new authority", second, true)
	try("a certificate of an authority that the agent does not know", first, false)
	try("no authority at all", "", false)
	stop()
	r.must(<-over)
}

// trusted is the bundle that agents mount.
func (r *contentRig) trusted() string {
	r.Helper()
	return r.plane.Kubectl(r.T, "get", "configmap", "sluice-content-ca", "-n", contentSpace, "-o", `jsonpath={.data.ca\.crt}`, "--ignore-not-found")
}

// fetch does what an agent does.
func fetch(ctx context.Context, addr, trusted, token string, d machine.Digest) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(trusted))
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: kube.ContentName, MinVersion: tls.VersionTLS13}}}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+"/configs/"+string(d), nil)
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", "Bearer "+token)
	a, err := c.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	var got machine.Config
	if err := json.NewDecoder(a.Body).Decode(&got); err != nil || a.StatusCode != http.StatusOK || got.Digest() != d {
		return fmt.Errorf("code %d, config %s, %w", a.StatusCode, got.Digest().Short(), err)
	}
	return nil
}
