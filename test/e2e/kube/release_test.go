package kube

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// otherReleases goes back to the previous release in the middle of a rollout, and in the middle of
// the next one to this release again. Each time chart, controllers and agents are all replaced.
func otherReleases(t *testing.T, r *Rig) {
	r.build(previous)
	for _, way := range []struct {
		version string
		change  func()
	}{
		{previous, func() { r.helm("rollback", "sluice", "1") }},
		{present, r.upgrade},
	} {
		from := r.Mark()
		commit, stuck, down, release := r.midway(t, "a change that ends with "+way.version)
		was := r.orders("worker")
		way.change()
		for _, c := range r.controllers {
			c.replace(way.version)
		}
		r.await("the agents of all machines that run are of "+way.version, func() bool { return r.versions(down)[way.version] == len(r.machines)-1 })
		if n := r.observer.nodes(); !n[stuck].ours() || !n[down].ours() || n[down].Ready {
			t.Errorf("of the nodes that were under way %s is %+v, and %s %+v", stuck, n[stuck], down, n[down])
		}
		if is := r.orders("worker"); !reflect.DeepEqual(is, was) {
			t.Errorf("the orders were\n%v\nand are\n%v", was, is)
		}
		release()
		r.settled(commit)
		r.await("all agents are of "+way.version, func() bool { return r.versions("")[way.version] == len(r.machines) })
		if is := r.orders("worker")[down]; is != was[down] {
			t.Errorf("the order of %s, which was down, was %v and is %v", down, was[down], is)
		}
		r.Judge(t, from, r.all("worker")...)
	}
}

// quorum is an app with a pod on each worker, of which one at a time may be away: of two nodes that
// are emptied the second has to wait until the first is back.
const quorum = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: quorum, namespace: apps}
spec:
  replicas: %d
  selector: {matchLabels: {app: quorum}}
  template:
    metadata: {labels: {app: quorum}}
    spec:
      nodeSelector: {node-role.kubernetes.io/worker: ""}
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: quorum}}}
      terminationGracePeriodSeconds: 1
      containers: [{name: quorum, image: none}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: keep-quorum, namespace: apps}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: quorum}}}
`

// midway begins a rollout, and returns when one node waits for a pod to leave, one is down for its
// reboot, and no other may be begun; release lets both go on.
func (r *Rig) midway(t *testing.T, message string) (commit, stuck, down string, release func()) {
	t.Helper()
	r.plane.Apply(t, fmt.Sprintf(quorum, len(r.all("worker"))))
	r.plane.Kubectl(t, "-n", "apps", "rollout", "status", "deployment/quorum", "--timeout=240s")
	boot := r.blockBoots("worker")
	t.Cleanup(boot)
	commit = r.reboots(message)
	r.waits("worker", "apps/quorum", "keep-quorum")
	r.await("one machine has gone down, and another is being emptied", func() bool {
		stuck, down = "", r.downed("worker")
		for name, n := range r.observer.nodes() {
			if n.ours() && n.Ready {
				stuck = name
			}
		}
		return stuck != "" && down != ""
	})
	return commit, stuck, down, func() {
		r.plane.Kubectl(t, "-n", "apps", "delete", "deployment/quorum", "pdb/keep-quorum")
		boot()
	}
}

// ordered is what makes an order this one.
type ordered struct {
	generation int64
	config     string
}

func (r *Rig) orders(pool string) map[string]ordered {
	out := map[string]ordered{}
	for _, name := range r.all(pool) {
		spec := r.order(name).Spec
		out[name] = ordered{spec.Generation, spec.Config}
	}
	return out
}

// versions counts the agents that run, but for one machine, by version.
func (r *Rig) versions(but string) map[string]int {
	out := map[string]int{}
	for name, m := range r.machines {
		if name != but {
			out[m.version()]++
		}
	}
	return out
}

// uninstall takes the installation away in the middle of a rollout: by way of its Fleet, as the
// documentation says, and then without. A new installation goes on.
func uninstall(t *testing.T, r *Rig) {
	from := r.Mark()
	commit, stuck, _, release := r.midway(t, "a change whose Fleet is deleted")
	spec := r.plane.Kubectl(t, "get", "fleet", fleetName, "-o", "jsonpath={.spec}")
	r.plane.Kubectl(t, "delete", "fleet", fleetName)
	r.await(stuck+", which was only drained, works again", func() bool { return !r.observer.nodes()[stuck].away() })
	release()
	r.await("no node is closed by us any more", func() bool { return len(r.marked(t)) == 0 })
	back := r.takeAway()
	r.untaint() // a controller that ends at once has not come to it
	r.atRest()
	back()
	r.patchFleet(`{"spec": ` + spec + `}`)
	r.settled(commit)
	r.Judge(t, from, r.all("worker")...)

	from = r.Mark()
	commit, stuck, down, release := r.midway(t, "a change that loses its installation")
	back = r.takeAway()
	release()
	r.await(down+" has booted", func() bool { return r.observer.nodes()[down].Ready })
	for name, n := range r.observer.nodes() {
		if under := name == stuck || name == down; n.ours() != under || n.away() != under {
			t.Errorf("node %s is left as %+v", name, n)
		}
	}
	r.releaseByHand(t, stuck, down)
	back()
	r.settled(commit)
	r.Judge(t, from, r.all("worker")...)
}

// takeAway uninstalls the chart, and ends what it has started; back installs it again.
func (r *Rig) takeAway() (back func()) {
	r.t.Helper()
	gone := time.Now()
	r.helm("uninstall", "sluice")
	for _, c := range r.controllers {
		c.end()
	}
	r.await("no agent runs", func() bool { return r.versions("")[""] == len(r.machines) })
	return func() {
		r.t.Helper()
		r.upgrade()
		for _, c := range r.controllers {
			c.admit() // the account is another of that name
			c.start()
		}
		r.dark = append(r.dark, Span{gone, time.Now()})
	}
}

// marked are the nodes that we have closed, by the documentation's command.
func (r *Rig) marked(t *testing.T) []string {
	t.Helper()
	return strings.Fields(r.plane.Kubectl(t, "get", "nodes", "-o", `jsonpath={range .items[?(@.metadata.annotations.sluice\.dev/cordoned-by)]}{.metadata.name}{"\n"}{end}`))
}

// releaseByHand follows docs/operations.md, and holds that nothing of Sluice is left on any node.
func (r *Rig) releaseByHand(t *testing.T, closed ...string) {
	t.Helper()
	nodes := r.marked(t)
	if slices.Sort(closed); !slices.Equal(slices.Sorted(slices.Values(nodes)), closed) {
		t.Fatalf("these nodes are marked: %v, want %v", nodes, closed)
	}
	r.plane.Kubectl(t, append([]string{"uncordon"}, nodes...)...)
	r.plane.Kubectl(t, append(append([]string{"annotate", "nodes"}, nodes...), "sluice.dev/cordoned-by-")...)
	r.untaint()
	r.atRest()
}

// untaint takes our taint from all nodes. kubectl complains of those that have none.
func (r *Rig) untaint() { _, _ = r.kubectl("taint", "nodes", "--all", "sluice.dev/outdated-") }
