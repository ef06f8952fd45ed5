package kube

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/reconciler"
)

// vault is an app of one pod on one node that may not leave.
const vault = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: vault, namespace: apps}
spec:
  replicas: 1
  selector: {matchLabels: {app: vault}}
  template:
    metadata: {labels: {app: vault}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %s}
      terminationGracePeriodSeconds: 1
      containers: [{name: vault, image: none}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: keep-vault, namespace: apps}
spec: {minAvailable: 1, selector: {matchLabels: {app: vault}}}
`

// blockedDrain has a pod that its budget keeps where it is.
func blockedDrain(t *testing.T, r *Rig) {
	from, node := r.Mark(), r.all("worker")[0]
	r.plane.Apply(t, fmt.Sprintf(vault, node))
	r.plane.Kubectl(t, "-n", "apps", "rollout", "status", "deployment/vault", "--timeout=240s")
	commit := r.reboots("a change that a budget holds up")
	r.await(node+" is closed", func() bool { return r.observer.nodes()[node].ours() })
	began := time.Now()
	named := func(text string) bool { return hasAll(text, "apps/vault", "keep-vault") }
	r.waits("worker", "apps/vault", "keep-vault")
	shown := time.Since(began)
	r.await("the commit's status names pod and budget", func() bool { return named(r.words(commit)) })
	said := time.Since(began)
	why := ""
	r.await("why names pod and budget", func() bool { why = r.why("worker", "--repo", r.work()); return named(why) })
	t.Logf("judged: after the node was closed it took %.1f s until the Pool named pod and budget, %.1f s until the commit did, %.1f s until why did:\n%s",
		shown.Seconds(), said.Seconds(), time.Since(began).Seconds(), why)
	if time.Since(began) > time.Minute {
		t.Errorf("pod and budget are named after %s, want a minute", time.Since(began))
	}
	r.plane.Kubectl(t, "-n", "apps", "patch", "pdb", "keep-vault", "--type=merge", "-p", `{"spec": {"minAvailable": 0}}`)
	r.settled(commit)
	r.plane.Kubectl(t, "-n", "apps", "delete", "deployment/vault", "pdb/keep-vault")
	r.Judge(t, from, r.all("worker")...)
}

// comeAndGo deletes a node that is under way, and adds one.
func comeAndGo(t *testing.T, r *Rig) {
	from, before := r.Mark(), r.all("worker")
	hold := r.blockBoots("worker")
	commit := r.reboots("a change that loses a node")
	gone := ""
	r.await("a machine has gone down", func() bool { gone = r.downed("worker"); return gone != "" })
	r.DeleteNode(gone)
	hold()
	r.settled(commit)
	rest := slices.DeleteFunc(before, func(n string) bool { return n == gone })
	r.Judge(t, from, rest...)
	if p := r.pool("worker"); p.Updated != fmt.Sprintf("%d/%[1]d", len(rest)) {
		t.Errorf("without %s the pool is %+v", gone, p)
	}
	from = r.Mark()
	const late = "worker-late"
	r.AddNode(late, "worker", "a")
	target := r.pool("worker").Target
	r.await("the new node is what its pool is", func() bool {
		c := r.order(late)
		return c.Status.Config == target && c.Status.Phase == "done"
	})
	r.await("the pool counts it", func() bool { return r.pool("worker").Updated == fmt.Sprintf("%d/%[1]d", len(rest)+1) })
	r.atRest()
	r.Judge(t, from, late)
	t.Logf("judged: %s was deleted while it was down, %s was taken in", gone, late)
}

// blockBoots keeps the machines of a pool from booting until they are let go.
func (r *Rig) blockBoots(pool string) (release func()) {
	var all []func()
	for _, name := range r.all(pool) {
		all = append(all, r.machines[name].hold())
	}
	return func() {
		for _, one := range all {
			one()
		}
	}
}

// downed is a machine of a pool that has gone down for a reboot; "" is none.
func (r *Rig) downed(pool string) string {
	for name, n := range r.observer.nodes() {
		if n.Pool == pool && !n.Ready {
			return name
		}
	}
	return ""
}

// foreignCordon closes a node by hand, and opens it at the end.
func foreignCordon(t *testing.T, r *Rig) {
	from, workers := r.Mark(), r.all("worker")
	closed := workers[1]
	rest := slices.DeleteFunc(slices.Clone(workers), func(n string) bool { return n == closed })
	r.Cordon(closed, true)
	commit := r.reboots("a change while a node is closed by hand")
	r.await("all others are updated", func() bool {
		p := r.pool("worker")
		return p.Commit == commit && p.Updated == fmt.Sprintf("%d/%d", len(rest), len(workers))
	})
	r.waits("worker", closed, "cordoned by somebody else")
	r.await("all others are at work", func() bool {
		nodes := r.observer.nodes()
		return !slices.ContainsFunc(rest, func(n string) bool { return nodes[n].away() })
	})
	if n := r.observer.nodes()[closed]; !n.Closed || n.Mark != "" {
		t.Errorf("the node that was closed by hand is %+v", n)
	}
	r.Judge(t, from, rest...)
	from = r.Mark()
	r.Cordon(closed, false)
	r.settled(commit)
	r.Judge(t, from, closed)
}

// frozenLeader stops the process of the leader in the middle of a rollout, and lets it go on when
// another leads. It has a drain in hand that a budget blocks: it is not the one to ask again, nor to
// write anything else that it had in mind.
func frozenLeader(t *testing.T, r *Rig) {
	from, node := r.Mark(), r.all("worker")[0]
	r.plane.Apply(t, fmt.Sprintf(vault, node))
	r.plane.Kubectl(t, "-n", "apps", "rollout", "status", "deployment/vault", "--timeout=240s")
	commit := r.reboots("a change that loses its leader")
	r.waits("worker", "apps/vault", "keep-vault")
	old := r.leader()
	if old == nil {
		t.Fatal("nobody leads")
	}
	old.freeze()
	r.await("the other leads", func() bool { return r.leader() == r.other(old) })
	deposed := func() int {
		text, err := os.ReadFile(old.log())
		r.must(err)
		return strings.Count(string(text), "not leading any more")
	}
	before := deposed()
	old.thaw()
	r.await("the old one has found out", func() bool { return deposed() > before })
	r.plane.Kubectl(t, "-n", "apps", "patch", "pdb", "keep-vault", "--type=merge", "-p", `{"spec": {"minAvailable": 0}}`)
	r.settled(commit)
	r.plane.Kubectl(t, "-n", "apps", "delete", "deployment/vault", "pdb/keep-vault")
	r.Judge(t, from, r.all("worker")...)
	if r.leader() != r.other(old) {
		t.Errorf("%s leads again", old.name)
	}
	if told := r.plane.Kubectl(t, "get", "events.events.k8s.io", "-n", "default"); strings.Contains(told, "ForgeRefuses") {
		t.Errorf("the forge is blamed for the lost lease:\n%s", told)
	}
	from = r.Mark()
	r.edit(registries, `registry[^:]*\.example\.com`, "registry2.example.com")
	r.settled(r.push("another registry"))
	r.Judge(t, from)
}

// killedLeader ends the process of the leader in the middle of a rollout, twice.
func killedLeader(t *testing.T, r *Rig) {
	from := r.Mark()
	commit := r.reboots("a change whose leaders die")
	for range 2 {
		r.underWay("worker")
		old := r.leader()
		if old == nil {
			t.Fatal("nobody leads")
		}
		old.kill()
		r.await("the other leads", func() bool { return r.leader() == r.other(old) })
		old.start()
	}
	r.settled(commit)
	r.Judge(t, from, r.all("worker")...)
}

// serverAway stops the control plane for a minute while a node is off work.
func serverAway(t *testing.T, r *Rig) {
	from := r.Mark()
	commit := r.reboots("a change during which the API server is away")
	r.underWay("worker")
	r.away(func() { <-time.After(time.Minute) }) // that is the story
	r.settled(commit)
	r.away(func() {}) // and for a moment, with nothing to do
	back := time.Now()
	r.await("both controllers have found the server again", func() bool {
		calls, err := readCalls(r.auditLog())
		r.must(err)
		asked := map[string]bool{}
		for _, c := range calls {
			if c.Resource == "leases" && c.done() && c.At.After(back) {
				asked[c.Who] = true
			}
		}
		return asked[r.controllers[0].token] && asked[r.controllers[1].token]
	})
	r.await("the Fleet is ready", func() bool { return r.fleetReady().Status == metav1.ConditionTrue })
	r.Judge(t, from, r.all("worker")...)
}

// serverAwayAtBoot stops it while a machine is between its last word and its next boot: the agent
// finishes without anybody to ask.
func serverAwayAtBoot(t *testing.T, r *Rig) {
	from, release := r.Mark(), r.blockBoots("worker")
	defer release()
	commit := r.reboots("a change during whose reboot the API server is away")
	down := ""
	r.await("a machine has gone down", func() bool { down = r.downed("worker"); return down != "" })
	boots := r.boots()[down]
	r.away(func() {
		release()
		r.await(down+" has booted", func() bool { return r.boots()[down] > boots })
		r.await("its agent is on its own, and says so", func() bool { return strings.Contains(tail(r.machines[down].log(), 10), "refused") })
		<-time.After(10 * time.Second) // nothing happens to it
	})
	r.settled(commit)
	r.Judge(t, from, r.all("worker")...)
}

// killedAgents ends the agent of every node that has a new order, again and again.
func killedAgents(t *testing.T, r *Rig) {
	from := r.Mark()
	commit := r.reboots("a change whose agents die")
	kills, last := map[string]int{}, map[string]time.Time{}
	r.await("success on "+commit[:7], func() bool {
		for _, name := range r.all("worker") {
			c := r.order(name)
			busy := c.Spec.Generation > c.Status.Generation || c.Status.Phase == "working"
			if busy && kills[name] < 4 && time.Since(last[name]) > 300*time.Millisecond {
				r.machines[name].kill()
				kills[name]++
				last[name] = time.Now()
			}
		}
		return r.landed(commit)
	})
	r.atRest()
	r.Judge(t, from, r.all("worker")...)
	total := 0
	for _, n := range kills {
		total += n
	}
	t.Logf("judged: agents were killed %d times, on %d nodes", total, len(kills))
	if total < len(kills) || len(kills) < 2 {
		t.Errorf("the kills met nobody: %v", kills)
	}
	if p := r.pool("worker"); p.Phase != string(reconciler.Updated) {
		t.Errorf("the pool is %+v", p)
	}
}
