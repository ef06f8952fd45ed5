package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/cert"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/host/kube"
	"github.com/sluice-gitops/sluice/test/cluster"
)

// site is a cluster with one node, whose agents reach it over ways that can be cut.
type site struct {
	*testing.T
	plane   *cluster.Plane
	dir     string
	metrics string // where the agent is asked
	args    []string
	cut     atomic.Bool
	served  atomic.Int64 // configs
	agent   *program
}

func newSite(t *testing.T, plane *cluster.Plane, c machine.Config) *site {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", plane.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, plane: plane, dir: t.TempDir()}
	api := s.way(s.toServer(config))
	api.Start()
	serving, key, err := cert.GenerateSelfSignedCertKey(kube.ServerName, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(serving, key)
	if err != nil {
		t.Fatal(err)
	}
	content := s.way(s.configs(c))
	content.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	content.StartTLS()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.metrics = free.Addr().String()
	free.Close()
	s.args = []string{
		"run", "--root", s.file("root/etc/hostname", "w1\n", 2), "--node", "w1", "--interval", "50ms", "--metrics-listen", s.metrics,
		"--kubeconfig", s.file("kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}], clusters: [{name: c, cluster: {server: %q}}]}`, api.URL), 0),
		"--content", "https://127.0.0.1:1", "--content", content.URL,
		"--content-ca", s.file("ca.crt", string(serving), 0), "--content-token", s.file("token", "t\n", 0),
	}
	return s
}

// file writes a file below the site's folder; the path that so many steps above it is returned.
func (s *site) file(name, text string, up int) string {
	s.Helper()
	p := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		s.Fatal(err)
	}
	for range up {
		p = filepath.Dir(p)
	}
	return p
}

// way is a server that can be cut off.
func (s *site) way(to http.Handler) *httptest.Server {
	w := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if s.cut.Load() {
			panic(http.ErrAbortHandler)
		}
		to.ServeHTTP(rw, r)
	}))
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Cleanup(func() { w.CloseClientConnections(); w.Close() })
	return w
}

func (s *site) toServer(config *rest.Config) http.Handler {
	s.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		s.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		s.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(-behind).UTC().Format(http.TimeFormat))
		return nil
	}
	return proxy
}

// behind is how much earlier it is by the server than by the node.
const behind = time.Hour

func (s *site) configs(c machine.Config) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/configs/"+string(c.Digest()) || r.Header.Get("Authorization") != "Bearer t" {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		s.served.Add(1)
		rw.Header().Set("Content-Encoding", "gzip")
		w := gzip.NewWriter(rw)
		json.NewEncoder(w).Encode(c)
		w.Close()
	})
}

// program is one run of the agent.
type program struct {
	stop context.CancelFunc
	over chan error
	mu   sync.Mutex
	said bytes.Buffer
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func (p *program) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

func (s *site) start() {
	ctx, stop := context.WithCancel(s.Context())
	p := &program{stop: stop, over: make(chan error, 1)}
	go func() { p.over <- run(ctx, s.args, p, p) }()
	s.agent = p
	s.Cleanup(func() {
		if s.Failed() {
			s.Logf("an agent said:\n%s", p.log())
		}
	})
}

// ends waits until the agent has ended by itself, or by Stop.
func (s *site) ends() {
	s.Helper()
	select {
	case err := <-s.agent.over:
		if err != nil {
			s.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		s.Fatal("the agent does not end")
	}
}

// get asks the agent's own server; no answer is "".
func (s *site) get(page string) string {
	answer, err := http.Get("http://" + s.metrics + page)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Error(err)
	}
	return answer.Status + "\n" + string(body)
}

// awaits asks until an answer holds all of the words.
func (s *site) awaits(ask func() string, words ...string) {
	s.Helper()
	got := ""
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		got = ask()
		has := true
		for _, word := range words {
			has = has && regexp.MustCompile("(?m)"+word).MatchString(got)
		}
		if has {
			return
		}
		select {
		case <-s.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	s.Fatalf("it never says %q, but %s", words, got)
}

func (s *site) measures(words ...string) {
	s.Helper()
	s.awaits(func() string { return s.get("/metrics") }, words...)
}

func (s *site) home() string {
	return s.plane.Kubectl(s, "get", "nodeconfig", "w1", "-o", "jsonpath={.status}")
}

// TestRunOnKubernetes is one node from its first order on: it reboots, and while it is down the API
// server and all controllers go. It finishes what it began, sees its drift, and says so once they are
// back. All the while the node's clock is off.
func TestRunOnKubernetes(t *testing.T) {
	var plane cluster.Plane
	defer plane.Stop()
	c := machine.Config{Files: []machine.File{{Path: "/opt/tool", Mode: 0o755, Contents: []byte("tool\n")}}, KernelArgs: []string{"a=1"}}
	s := newSite(t, &plane, c)
	plane.Kubectl(t, "apply", "-f", filepath.Join("..", "..", "api", "v1alpha1", "crds"))
	plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	plane.Apply(t, "{apiVersion: sluice.dev/v1alpha1, kind: NodeConfig, metadata: {name: w1}}")

	s.start()
	s.awaits(s.home, `"bootID":"\w+"`, `"reason":"Idle"`)
	s.measures(`^sluice_agent_phase{phase="idle"} 1`, `^sluice_agent_reboots_total 0`, `^sluice_agent_clock_skew_seconds 3[56]\d\d`)
	plane.Kubectl(t, "patch", "nodeconfig", "w1", "--type=merge", "-p",
		fmt.Sprintf(`{"spec": {"generation": 1, "config": %q, "ceiling": "reboot", "notAfter": %q}}`, c.Digest(), // in time by the server, too late by the node
			time.Now().Add(-behind/2).UTC().Format(time.RFC3339)))
	s.ends()
	if log := s.agent.log(); !strings.Contains(log, "w1 reboots") || !strings.Contains(log, "the clock of this machine is off") || s.served.Load() != 1 {
		t.Fatalf("%d configs were fetched, and the agent said %s", s.served.Load(), log)
	}
	s.awaits(s.home, `"generation":1`, `"phase":"working"`)

	s.cut.Store(true)
	s.start()
	s.measures(`^sluice_agent_phase{phase="done"} 1`, `^sluice_agent_phase{phase="idle"} 0`, `^sluice_agent_order_generation 1`,
		`^sluice_agent_reboots_total 1`, `^sluice_agent_errors_total{what="order"} [1-9]`, `^sluice_agent_drift{kind="content"} 0`)
	if got := s.get("/healthz") + s.get("/readyz"); !strings.HasPrefix(got, "200") || !strings.Contains(got, "503") {
		t.Errorf("without the API server it is %s", got)
	}
	s.file("root/opt/tool", "evil\n", 0)
	s.measures(`^sluice_agent_drift{kind="content"} 1`)
	s.agent.stop()
	s.ends()
	s.start() // what it found is found again by the next process, still alone
	s.measures(`^sluice_agent_phase{phase="done"} 1`, `^sluice_agent_drift{kind="content"} 1`)

	s.cut.Store(false)
	s.awaits(s.home, `"phase":"done"`, `"reason":"Drifted"`, `"config":"`+string(c.Digest())+`"`, `"path":"/opt/tool"`)
	s.awaits(func() string { return s.get("/readyz") }, "200 OK")
	if n := s.served.Load(); n != 1 {
		t.Errorf("the config was fetched %d times", n)
	}
	s.agent.stop()
	s.ends()
	if got := s.agent.log(); strings.Contains(got, "panic") {
		t.Error(got)
	}
}
