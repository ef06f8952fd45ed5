package kube

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// whole is the variable by which make e2e asks for everything.
const whole = "SLUICE_E2E"

// scene is one story that the rig is told, from rest to rest.
type scene struct {
	name  string
	short bool // it runs in every test run
	play  func(*testing.T, *Rig)
}

var scenes = []scene{
	{"a pull request names the nodes that its merge reboots", true, pullRequest},
	{"a revert gives back what was", true, revert},
	{"a pool that is paused in Git does not move", false, pauseInGit},
	{"a hold is obeyed until it is released", false, holdAndRelease},
	{"a drain that is blocked names pod and budget within a minute", false, blockedDrain},
	{"a node deleted on its way frees its place, and a new one is taken in", false, comeAndGo},
	{"somebody else's cordon is kept, and counts", false, foreignCordon},
	{"a leader that is frozen is replaced, and finds itself deposed", false, frozenLeader},
	{"a leader that is killed is replaced", false, killedLeader},
	{"the API server is away for a minute during a rollout", false, serverAway},
	{"the API server is away while a machine boots", false, serverAwayAtBoot},
	{"agents are killed at what they do", false, killedAgents},
	{"a forge that asks for a token gets it by a Secret", false, credentials},
	{"a release is rolled back, and upgraded again, during rollouts", false, otherReleases},
	{"the chart is uninstalled during a rollout, and installed again", false, uninstall},
}

// TestFleetOnKubernetes tells one cluster after the other all scenes.
func TestFleetOnKubernetes(t *testing.T) {
	readSources(t)
	all := os.Getenv(whole) != ""
	sizes := Sizes{Master: 1, Worker: 2, Edge: 1}
	if all {
		sizes = Sizes{Master: 3, Worker: 7, Edge: 2}
	}
	r := Start(t, sizes)
	from := Mark{boots: r.boots()}
	defer func() {
		if t.Failed() {
			r.t = t
			r.Tell(t, from)
		}
	}()
	r.shop()
	first := r.push("start the fleet")
	r.settled(first)
	r.Judge(t, from, r.all("")...)
	for _, pool := range slices.Sorted(maps.Keys(limits)) {
		if !strings.Contains(r.words(first), fmt.Sprintf("sluice/%s/%s: success", fleetName, pool)) {
			t.Errorf("the first commit has these statuses:\n%s", r.words(first))
		}
	}
	for _, s := range scenes {
		ok := t.Run(s.name, func(t *testing.T) {
			if !s.short && !all {
				t.Skip("make e2e runs it: it takes minutes")
			}
			r.t = t
			from = r.Mark()
			began := time.Now()
			s.play(t, r)
			t.Logf("it took %s", time.Since(began).Round(time.Second))
		})
		r.t = t
		if !ok {
			t.Fatal("the fleet is not at rest any more: the other scenes are not told")
		}
	}
	r.JudgeAll(t)
}

// readSources looks at every folder of the module: go test remembers what a test has looked at, and
// must not answer with the result of older programs.
func readSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(here(), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && (e.Name() == ".git" || e.Name() == "bin") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// all are the machines of a pool; "" is of every pool.
func (r *Rig) all(pool string) []string {
	var out []string
	for name, m := range r.machines {
		if pool == "" || m.pool == pool {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// settled waits until a commit has landed and every node is back at work.
func (r *Rig) settled(commit string) {
	r.t.Helper()
	r.await("success on "+commit[:7]+" in every pool", func() bool { return r.landed(commit) })
	r.atRest()
}

func (r *Rig) atRest() {
	r.t.Helper()
	r.await("every node is at work", func() bool {
		for _, n := range r.observer.nodes() {
			if n.away() || n.Mark != "" || n.Tainted {
				return false
			}
		}
		return len(r.observer.nodes()) == len(r.machines)
	})
}

// underWay waits until a node of a pool is off work, and names it.
func (r *Rig) underWay(pool string) (name string) {
	r.t.Helper()
	r.await("a node of pool "+pool+" is off work", func() bool {
		nodes := r.observer.nodes()
		for _, name = range slices.Sorted(maps.Keys(nodes)) {
			if n := nodes[name]; n.Pool == pool && n.ours() {
				return true
			}
		}
		return false
	})
	return name
}

var huge = 100

// reboots pushes a change that reboots the workers.
func (r *Rig) reboots(message string) (commit string) {
	r.t.Helper()
	huge++
	r.edit(hugepages, `hugepages=\d+`, fmt.Sprintf("hugepages=%d", huge))
	return r.push(message)
}

// waits waits until a pool's status says all of these words.
func (r *Rig) waits(pool string, words ...string) {
	r.t.Helper()
	r.await(fmt.Sprintf("Pool %s says %q", pool, words), func() bool {
		p := r.pool(pool)
		said := p.Phase + "\n" + p.WaitingOn
		for _, f := range p.Waiting {
			said += "\n" + f.Reason
		}
		return hasAll(said, words...)
	})
}

func hasAll(text string, words ...string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// shop is an app with three pods of which two have to be there.
func (r *Rig) shop() {
	r.t.Helper()
	r.plane.Apply(r.t, `
{apiVersion: v1, kind: Namespace, metadata: {name: apps}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: apps}
spec:
  replicas: 3
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: shop, image: none}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: shop, namespace: apps}
spec: {minAvailable: 2, selector: {matchLabels: {app: shop}}}
`)
	r.plane.Kubectl(r.t, "-n", "apps", "rollout", "status", "deployment/shop", "--timeout=240s")
}
