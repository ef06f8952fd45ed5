package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/source/git/gittest"
	"github.com/sluice-gitops/sluice/test/cluster"
)

// wiretap stands between one process and the API server, as the administrator, and notes what is
// written.
type wiretap struct {
	kubeconfig string
	heard      chan<- struct{} // is told of every request

	mu     sync.Mutex
	writes []string
	reads  map[string]int
	hangs  chan struct{} // no request is answered before it is closed; nil: all are
}

// hang leaves requests unanswered until the function that it returns is called.
func (w *wiretap) hang(t *testing.T) (let func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hangs = make(chan struct{})
	let = sync.OnceFunc(func() { close(w.hangs) })
	t.Cleanup(let)
	return let
}

func tap(t *testing.T, kubeconfig string, heard chan<- struct{}) *wiretap {
	t.Helper()
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string) []byte {
		found := regexp.MustCompile(name + `: (\S+)`).FindSubmatch(text)
		if found == nil {
			t.Fatalf("the kubeconfig has no %s", name)
		}
		plain, err := base64.StdEncoding.DecodeString(string(found[1]))
		if err != nil {
			return found[1]
		}
		return plain
	}
	pair, err := tls.X509KeyPair(field("client-certificate-data"), field("client-key-data"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(field("certificate-authority-data"))
	server, err := url.Parse(string(field("server")))
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"), heard: heard, reads: map[string]int{}}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(server) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}, ForceAttemptHTTP2: true},
	}
	front := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if hangs := w.note(r); hangs != nil {
			<-hangs
		}
		proxy.ServeHTTP(out, r)
	}))
	t.Cleanup(front.Close)
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}], clusters: [{name: c, cluster: {server: %q}}]}`, front.URL)
	if err := os.WriteFile(w.kubeconfig, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *wiretap) note(r *http.Request) (hangs <-chan struct{}) {
	defer func() {
		select {
		case w.heard <- struct{}{}:
		default: // it has yet to look at one before
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Method == http.MethodGet {
		w.reads[r.URL.Path]++
		return w.hangs
	}
	w.writes = append(w.writes, r.Method+" "+r.URL.Path)
	return w.hangs
}

// since are the writes after the first n, but for those of the lease.
func (w *wiretap) since(n int) (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, write := range w.writes[n:] {
		if !strings.Contains(write, "/leases/") {
			out = append(out, write)
		}
	}
	return out
}

func (w *wiretap) count() (writes, leases int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.writes), w.reads["/apis/coordination.k8s.io/v1/namespaces/default/leases/sluice-prod"]
}

// process is a real one, which signals can stop.
type process struct {
	*exec.Cmd
	log *controller
}

func startProcess(t *testing.T, binary string, args ...string) *process {
	t.Helper()
	p := &process{exec.Command(binary, args...), &controller{}}
	p.Stdout, p.Stderr = p.log, p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		if t.Failed() {
			t.Logf("process %d said:\n%s", p.Process.Pid, p.log.log())
		}
	})
	return p
}

func (p *process) says(word string) int { return strings.Count(p.log.log(), word) }

// TestALeaderThatWasStoppedWritesNothingWhenItWakes stops a controller in the midst of a drain for
// longer than its lease lasts. When it wakes another leads: it may look, and does nothing more until
// it holds the lease again.
func TestALeaderThatWasStoppedWritesNothingWhenItWakes(t *testing.T) {
	var plane cluster.Plane
	defer plane.Stop()
	config := plane.Kubeconfig(t)
	binary := filepath.Join(t.TempDir(), "sluice")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	plane.Kubectl(t, "apply", "-f", filepath.Join("..", "..", "api", "v1alpha1", "crds"))
	plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	plane.Nodes(t, "n", 2)
	// One pod on each node, of which none may go: a drain asks for it again and again.
	plane.Apply(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}], containers: [{name: c, image: none}]}}}}`)
	plane.Apply(t, `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web}, spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}}`)
	plane.Kubectl(t, "rollout", "status", "deployment/web", "--timeout=120s")
	repo := gittest.New(t).Repo("fleet.git")
	repo.Commit("main", gittest.Files{
		"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n",
		"args.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: 10-args}\nspec: {kernelArguments: [a]}\n",
	})
	plane.Apply(t, fmt.Sprintf("{apiVersion: sluice.dev/v1alpha1, kind: Fleet, metadata: {name: prod}, spec: {source: {url: %q, interval: 1s}}}", repo.URL))

	heard := make(chan struct{}, 1)
	until := func(what string, is func() bool) {
		t.Helper()
		deadline := time.After(3 * time.Minute)
		for !is() {
			select {
			case <-heard: // each of them asks for something every few seconds
			case <-deadline:
				t.Fatalf("it never comes to be: %s", what)
			}
		}
	}
	first, second := tap(t, config, heard), tap(t, config, heard)
	args := func(w *wiretap) []string {
		return []string{"run", "--kubeconfig", w.kubeconfig, "--namespace", "default", "--fleet", "prod", "--content-listen", "", "--metrics-listen", ""}
	}
	evicts := func(w *wiretap) bool { return strings.Contains(strings.Join(w.since(0), " "), "/eviction") }
	one := startProcess(t, binary, args(first)...)
	until("the first asks pods to leave", func() bool {
		obey(t, &plane) // agents that say nothing are given nothing
		return evicts(first)
	})
	two := startProcess(t, binary, args(second)...)
	until("the second waits", func() bool { _, asked := second.count(); return asked > 0 })

	if err := one.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until("the second leads, and goes on with the drain", func() bool { return two.says("msg=leading") == 1 && evicts(second) })
	before, asked := first.count()
	if err := one.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until("the first waits for the lease again", func() bool {
		_, now := first.count()
		return one.says("waiting for the lease") == 2 && now > asked+2
	})
	if wrote := first.since(before); len(wrote) > 0 {
		t.Errorf("the first was stopped, and when it woke it wrote %q", wrote)
	}

	if err := two.Process.Signal(syscall.SIGTERM); err != nil { // and it is as good as any once it is its turn
		t.Fatal(err)
	}
	until("the first leads again", func() bool { return one.says("msg=leading") == 2 && len(first.since(before)) > 0 })
}
