package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/source/git/gittest"
	"github.com/sluice-gitops/sluice/test/cluster"
)

// TestSignsOfLife holds when a controller is to be started anew, and when it should not be asked.
func TestSignsOfLife(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tick, mute := loop.Look{Loaded: true, Whole: true}, loop.Look{Err: errors.New("no route to host")}
	after := func(d time.Duration) func(*vitals) { return func(*vitals) { now = now.Add(d) } }
	leads := func(v *vitals) { v.lead(true) }
	follows := func(poll time.Duration) func(*vitals) { return func(v *vitals) { v.expect(poll) } }
	ticks := func(k loop.Look) func(*vitals) { return func(v *vitals) { v.watch(k) } }
	deposed := func(v *vitals) { v.lead(false) }
	contends := func(v *vitals) { v.contend(nil) }
	away, there := func(v *vitals) { v.asked(errors.New("no route to host")) }, func(v *vitals) { v.asked(nil) }
	for _, row := range []struct {
		name           string
		story          []func(*vitals)
		healthy, ready bool
	}{
		{"it waits for the lease for days", []func(*vitals){after(100 * time.Hour)}, true, true},
		{"it leads, and there is nothing to follow", []func(*vitals){leads, after(100 * time.Hour)}, true, true},
		{"its first tick takes some minutes", []func(*vitals){leads, follows(time.Second), after(9 * time.Minute)}, true, true},
		{"its first tick does not end", []func(*vitals){leads, follows(time.Second), after(11 * time.Minute)}, false, true},
		{"a tick has ended", []func(*vitals){leads, follows(time.Second), after(9 * time.Minute), ticks(tick), after(9 * time.Minute)}, true, true},
		{"a later tick does not end", []func(*vitals){leads, follows(time.Second), ticks(tick), after(11 * time.Minute)}, false, true},
		{"Git is asked once an hour", []func(*vitals){leads, follows(time.Hour), ticks(tick), after(2 * time.Hour)}, true, true},
		{"and is not asked for longer", []func(*vitals){leads, follows(time.Hour), ticks(tick), after(4 * time.Hour)}, false, true},
		{"the store does not answer", []func(*vitals){leads, follows(time.Second), ticks(tick), ticks(mute)}, true, false},
		{"it answers again", []func(*vitals){leads, follows(time.Second), ticks(mute), ticks(tick)}, true, true},
		{"a tick that fails with the store there", []func(*vitals){leads, follows(time.Second), ticks(loop.Look{Loaded: true, Err: errors.New("x")})}, true, true},
		{"another leads", []func(*vitals){leads, follows(time.Second), ticks(mute), deposed, after(100 * time.Hour)}, true, true},
		{"it has yet to reach the API server", []func(*vitals){contends}, true, false},
		{"it waits for the lease, and the API server answers", []func(*vitals){contends, there, after(20 * time.Second)}, true, true},
		{"one request is not answered", []func(*vitals){contends, there, after(2 * time.Second), away}, true, true},
		{"the API server is away for days", []func(*vitals){contends, there, after(72 * time.Hour), away}, true, false},
		{"it is back", []func(*vitals){contends, there, after(72 * time.Hour), away, there}, true, true},
		{"it hangs", []func(*vitals){contends, there, after(31 * time.Second)}, true, false},
		{"it was never there", []func(*vitals){contends, after(9 * time.Minute), away, after(9 * time.Minute)}, true, false},
		{"what asks for the lease is stuck", []func(*vitals){contends, there, after(11 * time.Minute)}, false, false},
		{"it never began to ask", []func(*vitals){contends, after(11 * time.Minute)}, false, false},
		{"it leads, the lease is there, the state cannot be read", []func(*vitals){contends, there, leads, follows(time.Second), ticks(mute)}, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := newVitals("prod")
			v.now = func() time.Time { return now }
			for _, happens := range row.story {
				happens(v)
			}
			for path, want := range map[string]bool{"/healthz": row.healthy, "/readyz": row.ready} {
				w := httptest.NewRecorder()
				v.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if got := w.Code == http.StatusOK; got != want {
					t.Errorf("%s says %d %s", path, w.Code, w.Body)
				}
			}
		})
	}
}

// TestMetricsOfARunningFleet asks a controller over HTTP while it rolls a commit out.
func TestMetricsOfARunningFleet(t *testing.T) {
	repo := gittest.New(t).Repo("fleet.git")
	repo.Commit("main", workerPool)
	dir := t.TempDir()
	inventory := filepath.Join(dir, "nodes.json")
	if err := os.WriteFile(inventory, []byte(`{"nodes": [{"name": "w1", "labels": {"node-role.kubernetes.io/worker": ""}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startController(t, "run", "--local", filepath.Join(dir, "fleet"), "--inventory", inventory, "--repo", repo.URL, "--name", "prod",
		"--poll", "200ms", "--boot-time", "1ms", "--metrics-listen", "127.0.0.1:0")
	address := c.address(t)
	ask := func(method, path string) (int, string) {
		t.Helper()
		return browse(t, method, address+path)
	}
	eventually(t, "the pool is updated, and its node has rebooted", func() bool {
		_, said := ask(http.MethodGet, "/metrics")
		return strings.Contains(said, `sluice_pool_phase{fleet="prod",phase="Updated",pool="worker"} 1`) &&
			strings.Contains(said, `sluice_pool_nodes{fleet="prod",phase="updated",pool="worker"} 1`) &&
			strings.Contains(said, `sluice_pool_reboots_total{fleet="prod",pool="worker"} 1`)
	})
	_, said := ask(http.MethodGet, "/metrics")
	for _, want := range []string{`sluice_leader{fleet="prod"} 1`, `sluice_git_silent{fleet="prod"} 0`, `sluice_build_info{version="` + version + `"} 1`, "\nprocess_resident_memory_bytes ", "\ngo_goroutines "} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %s:\n%s", want, said)
		}
	}
	for _, row := range []struct {
		method, path string
		code         int
	}{
		{http.MethodGet, "/healthz", 200}, {http.MethodGet, "/readyz", 200}, {http.MethodGet, "/", 404}, {http.MethodPost, "/metrics", 405},
	} {
		if code, body := ask(row.method, row.path); code != row.code {
			t.Errorf("%s %s: %d %s", row.method, row.path, code, body)
		}
	}
	c.stop()
	if code := <-c.over; code != 0 {
		t.Errorf("stopped, it exits with %d", code)
	}
	var stderr strings.Builder
	if code := run(t.Context(), []string{"run", "--local", filepath.Join(dir, "fleet"), "--metrics-listen", "nowhere"}, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), "--metrics-listen: ") {
		t.Errorf("an address that is none: %d %s", code, &stderr)
	}
}

// workerPool is a repository for which every worker reboots once.
var workerPool = gittest.Files{
	"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n",
	"args.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: 10-args}\nspec: {kernelArguments: [a]}\n",
}

// address is where a controller says that it serves metrics.
func (c *controller) address(t *testing.T) string {
	t.Helper()
	var found []string
	eventually(t, "it serves metrics", func() bool {
		found = regexp.MustCompile(`serving metrics" address=(\S+)`).FindStringSubmatch(c.log())
		return found != nil
	})
	return "http://" + found[1]
}

func browse(t *testing.T, method, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// eventually looks again and again until what should come has come.
func eventually(t *testing.T, what string, come func() bool) {
	t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !come(); <-look.C {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come: %s", what)
		}
	}
}

// TestMetricsOfTwoControllers has one that leads and one that waits: both are well, and only the
// first speaks of the fleet, until it goes.
func TestMetricsOfTwoControllers(t *testing.T) {
	var plane cluster.Plane
	defer plane.Stop()
	config := plane.Kubeconfig(t)
	plane.Kubectl(t, "apply", "-f", filepath.Join("..", "..", "api", "v1alpha1", "crds"))
	plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	repo := gittest.New(t).Repo("fleet.git")
	repo.Commit("main", workerPool)
	plane.Apply(t, fmt.Sprintf("{apiVersion: sluice.dev/v1alpha1, kind: Fleet, metadata: {name: prod}, spec: {source: {url: %q, interval: 200ms}}}", repo.URL))
	begin := func() (c *controller, said func(path string) string) {
		c = startController(t, "run", "--kubeconfig", config, "--namespace", "default", "--fleet", "prod", "--content-listen", "", "--metrics-listen", "127.0.0.1:0")
		address := c.address(t)
		return c, func(path string) string {
			code, body := browse(t, http.MethodGet, address+path)
			if code != http.StatusOK {
				t.Errorf("%s: %d %s", path, code, body)
			}
			return body
		}
	}
	const leader, pool = `sluice_leader{fleet="prod"} `, `sluice_pool_phase{fleet="prod",phase="Updated",pool="worker"} 1`
	one, first := begin()
	eventually(t, "the first leads and looks", func() bool { return strings.Contains(first("/metrics"), pool) })
	two, second := begin()
	if got := second("/metrics"); !strings.Contains(got, leader+"0") || strings.Contains(got, "sluice_pool_") || !strings.Contains(first("/metrics"), leader+"1") {
		t.Errorf("the second speaks of what the first controls:\n%s", got)
	}
	first("/healthz")
	first("/readyz")
	second("/healthz")
	eventually(t, "the one that waits is ready", func() bool {
		code, _ := browse(t, http.MethodGet, two.address(t)+"/readyz")
		return code == http.StatusOK
	})
	one.stop()
	<-one.over
	eventually(t, "the second takes over", func() bool {
		got := second("/metrics")
		return strings.Contains(got, leader+"1") && strings.Contains(got, pool)
	})
	two.stop()
	<-two.over
}

// TestReadyOnceTheAPIServerAnswers has the API server hang: a controller is well, and not ready, until
// it answers, and while another leads.
func TestReadyOnceTheAPIServerAnswers(t *testing.T) {
	var plane cluster.Plane
	defer plane.Stop()
	wire := tap(t, plane.Kubeconfig(t), nil)
	plane.Apply(t, `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: sluice-prod, namespace: default}, spec: {holderIdentity: another, leaseDurationSeconds: 36000,
  acquireTime: "2026-11-23T12:00:00.000000Z", renewTime: "2026-11-23T12:00:00.000000Z"}}`)
	let := wire.hang(t)
	c := startController(t, "run", "--kubeconfig", wire.kubeconfig, "--namespace", "default", "--fleet", "prod", "--content-listen", "", "--metrics-listen", "127.0.0.1:0")
	address := c.address(t)
	eventually(t, "it asks for the lease", func() bool {
		_, leases := wire.count()
		return leases > 0
	})
	if code, body := browse(t, http.MethodGet, address+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "API server") {
		t.Errorf("while the API server hangs it is ready: %d %s", code, body)
	}
	if code, body := browse(t, http.MethodGet, address+"/healthz"); code != http.StatusOK {
		t.Errorf("while the API server hangs it is to be started anew: %d %s", code, body)
	}
	let()
	eventually(t, "it is ready", func() bool {
		code, _ := browse(t, http.MethodGet, address+"/readyz")
		return code == http.StatusOK
	})
	if _, said := browse(t, http.MethodGet, address+"/metrics"); !strings.Contains(said, `sluice_leader{fleet="prod"} 0`) {
		t.Error("it leads: this shows nothing of one that waits")
	}
}
