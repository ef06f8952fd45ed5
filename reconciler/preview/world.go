package preview

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// world is the fleet on a virtual clock, in which every order is done well, in the time that its
// kind takes.
type world struct {
	state reconciler.State
	seen  reconciler.Observed

	assumed int                                   // nodes that were put at the base
	member  map[string]string                     // node -> pool after the merge
	home    map[string]string                     // node -> pool before it
	index   map[string]int                        // node -> its place in seen.Nodes
	taken   map[string]bool                       // nodes that are in a wave
	pace    map[string]map[string][]time.Duration // pool -> kind -> how long nodes took, as it was remembered
	due     map[string]time.Time                  // nodes that are at work -> when they are done
	waits   map[string]int                        // pool -> windows and holds that it has waited for
	begun   map[string][]turn                     // pool -> of each of its waves
	start   time.Time
}

// turn is when a wave began, and after how many waits.
type turn struct {
	at    time.Time
	waits int
}

// rest is the world as it is before the merge.
func rest(in Input, merged []render.Pool) *world {
	w := &world{
		start: in.Now, state: in.State, member: map[string]string{}, home: map[string]string{}, index: map[string]int{}, taken: map[string]bool{},
		pace: map[string]map[string][]time.Duration{}, due: map[string]time.Time{}, waits: map[string]int{}, begun: map[string][]turn{},
		seen: reconciler.Observed{
			Now: in.Now, Known: map[machine.Digest]machine.Config{}, Gate: in.Gate, Nodes: slices.Clone(in.Nodes),
			Head:  reconciler.Head{Revision: source.Revision{Commit: in.Head}, Pools: merged},
			Holds: in.Holds, Facts: in.Facts, Guardrail: in.Guardrail, Self: in.Self,
		},
	}
	maps.Copy(w.seen.Known, in.Known)
	for _, p := range slices.Concat(in.Before, in.After, in.Standing, merged) {
		w.seen.Known[p.Target()] = p.Config
	}
	if w.state.Pools == nil {
		w.state.Generation, w.state.Pools = 1, map[string]reconciler.Pool{}
		for _, p := range in.Standing {
			d := p.Target()
			w.state.Pools[p.Name] = reconciler.Pool{
				Phase: reconciler.Updated, Target: d, Generation: 1, Revision: source.Revision{Commit: in.Base},
				Rules:   reconciler.Rules{Rollout: p.Policy, MaxUnavailable: p.Strategy.MaxUnavailable},
				History: []reconciler.Landing{{Commit: in.Base, Config: d}},
			}
		}
	}
	for name, p := range w.state.Pools {
		w.pace[name] = p.Pace
	}
	for i := range w.seen.Nodes {
		w.settle(i, in, merged)
	}
	return w
}

// settle gives a node its place: its pool, what it is taken to have where it says nothing, and
// when it is done where it is at work already. In a fleet that a controller remembers, a node
// without an order is a bare one, as Step sees it: the base has never reached it.
func (w *world) settle(i int, in Input, merged []render.Pool) {
	n := &w.seen.Nodes[i]
	w.index[n.Name] = i
	if pool, err := render.Member(merged, n.Labels); err == nil {
		w.member[n.Name] = pool
	}
	pool, err := render.Member(in.Standing, n.Labels)
	if err != nil || pool == "" {
		return
	}
	w.home[n.Name] = pool
	if in.State.Pools == nil && n.Order.Generation == 0 && n.Report.Config == "" {
		w.assumed++
		d := find(in.Standing, pool).Target()
		n.Order = nodeops.Order{Node: n.Name, Generation: 1, Config: d}
		n.Report = nodeops.Report{Generation: 1, Config: d, Phase: nodeops.Done}
		return
	}
	begun, at := w.state.Pools[pool].Begun[n.Name]
	working := n.Report.Phase == nodeops.Working
	asked := n.Order.Generation > n.Report.Generation && n.Ready // else nobody is there to answer
	if !at || !working && !asked {
		return
	}
	kind, err := impact.ParseKind(begun.Kind)
	if took := w.takes(pool, kind); err == nil && w.seen.Now.Before(begun.At.Add(3*took)) { // else it is lost
		w.due[n.Name] = begun.At.Add(took)
	}
}

// steps bounds a run: a fleet that needs more is continued by arithmetic, in the same order.
const steps = 400

// tick is the virtual time between two steps.
const tick = time.Second

// run lets the rollout happen and notes in the pools who is taken when.
func (w *world) run(pools []Pool) {
	before := w.state
	for n := range steps {
		next, effects := reconciler.Step(w.state, w.seen)
		moved := !reflect.DeepEqual(w.state.Pools, next.Pools) // a pool may wait for what another has come to
		w.state = next
		for name, p := range w.state.Pools {
			p.Pace = w.pace[name] // what happens here measures nothing
			w.state.Pools[name] = p
		}
		if n == 0 {
			w.hold(pools)
			if w.agree() {
				w.state = before // the plan begins when all have agreed: no pool is ahead for having had to ask nobody
				continue
			}
		}
		wave := map[string][]string{}
		for _, e := range effects {
			moved = w.do(e, wave) || moved
		}
		for i, p := range pools {
			if wave := wave[p.Name]; len(wave) > 0 {
				pools[i].Waves = append(p.Waves, wave)
				w.begun[p.Name] = append(w.begun[p.Name], turn{w.seen.Now, w.waits[p.Name]})
			}
		}
		w.seen.Now = w.seen.Now.Add(tick)
		moved = w.finish() || moved
		if !moved && !w.leap() {
			w.remain(pools, false)
			return
		}
	}
	w.remain(pools, true)
}

// given are the checks that ask people, or the world outside, about the merged commit. What they
// say now is noted; the plan is for when they agree.
var given = []string{"approvals", "signed", "previewMatch", "health", "expression"}

// agree takes those checks from the gate. It says whether any of them held something.
func (w *world) agree() (held bool) {
	for _, p := range w.state.Pools {
		held = held || slices.ContainsFunc(p.Waiting, func(f policy.Finding) bool { return slices.Contains(given, f.Check) })
	}
	w.seen.Gate = slices.DeleteFunc(slices.Clone(w.seen.Gate), func(c policy.Check) bool { return slices.Contains(given, c.Name) })
	return held
}

// hold notes what the gate says at the moment of the merge. That a wave waits for the one before
// it is no finding: it is the plan.
func (w *world) hold(pools []Pool) {
	for i := range pools {
		st := w.state.Pools[pools[i].Name]
		pools[i].RollbackOf = st.RollbackOf
		if st.Halt != "" {
			pools[i].Held = append(pools[i].Held, policy.Finding{Check: "halt", Outcome: policy.Deny, Reason: st.Halt})
		}
		for _, f := range st.Waiting {
			if f.Check != "maxUnavailable" || st.Phase == reconciler.Waiting {
				pools[i].Held = append(pools[i].Held, w.foretold(f, pools[i].Name))
			}
		}
		pools[i].Held = append(pools[i].Held, st.Warned...)
		if pools[i].blocked != "" { // also beside a halt, which does not know the file
			pools[i].Held = append(pools[i].Held, policy.Finding{
				Check: "inPlace", Outcome: policy.Deny,
				Reason: "pool " + pools[i].Name + ": " + pools[i].blocked + " cannot be changed in place",
			})
		}
	}
}

// foretold is a finding in the words of before the merge: nobody can know yet who will have
// approved it, and what signature it will have.
func (w *world) foretold(f policy.Finding, pool string) policy.Finding {
	switch {
	case f.Check == "approvals" && w.seen.Facts.Review == nil:
		f.Reason = "pool " + pool + " begins no node before enough people have approved what is merged"
	case f.Check == "signed" && w.seen.Facts.Signature == nil:
		f.Reason = "pool " + pool + " begins no node for a commit without a trusted signature"
	}
	return f
}

// do is a machine that always succeeds. It says whether anything moved, and notes in the wave the
// nodes that are taken now.
func (w *world) do(e reconciler.Effect, wave map[string][]string) bool {
	switch e := e.(type) {
	case reconciler.Drain:
		n := w.node(e.Node)
		w.take(n.Name, wave)
		n.Cordon, n.Drained = reconciler.Ours, true
	case reconciler.Uncordon:
		n := w.node(e.Node)
		n.Cordon, n.Drained = reconciler.Uncordoned, false
	case reconciler.Send:
		w.send(e.Order, wave)
	case reconciler.Post:
		w.state = w.state.Heard(e.Status)
		return false
	case reconciler.Remark:
		return false
	}
	return true
}

// send gives a node its order. One that costs nothing is done at once.
func (w *world) send(o nodeops.Order, wave map[string][]string) {
	n := w.node(o.Node)
	if n.Report.Config != o.Config {
		w.take(n.Name, wave)
	}
	n.Order = o
	if _, working := w.due[o.Node]; !n.Ready && !working {
		return // nobody is there to answer
	}
	n.Report = nodeops.Report{Generation: o.Generation, Config: n.Report.Config, Phase: nodeops.Working, BootID: n.Report.BootID}
	pool, end := w.member[o.Node], w.seen.Now
	if b, ok := w.state.Pools[pool].Begun[o.Node]; ok && o.Ceiling > impact.Nothing {
		end = b.At.Add(w.takes(pool, o.Ceiling) - tick) // it is handed back a step later
	}
	w.due[o.Node] = end
}

// takes is how long such a step takes a node of a pool: as it did of late, or as policy reckons
// where it never did.
func (w *world) takes(pool string, kind impact.Kind) time.Duration {
	if took := slices.Sorted(slices.Values(w.pace[pool][kind.String()])); len(took) > 0 {
		return took[len(took)/2]
	}
	return policy.Unmeasured(kind)
}

// finish ends the work of the nodes whose time is over.
func (w *world) finish() (moved bool) {
	for name, at := range w.due {
		if at.After(w.seen.Now) {
			continue
		}
		n := w.node(name)
		n.Ready = true
		n.Report = nodeops.Report{Generation: n.Order.Generation, Config: n.Order.Config, Phase: nodeops.Done, BootID: n.Report.BootID}
		delete(w.due, name)
		moved = true
	}
	return moved
}

// take notes a node once: drained first, it gets its order a step later.
func (w *world) take(name string, wave map[string][]string) {
	if !w.taken[name] {
		w.taken[name] = true
		pool := w.member[name]
		wave[pool] = append(wave[pool], name)
	}
}

func (w *world) node(name string) *reconciler.Node {
	return &w.seen.Nodes[w.index[name]] // Step speaks of nodes that it was shown
}

// leap moves the clock to the next moment at which something happens: a node is done, or what a
// waiting pool waits for has come. It is false when nothing will.
func (w *world) leap() bool {
	var next time.Time
	sooner := func(at time.Time) {
		if !at.Before(w.seen.Now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, at := range w.due {
		sooner(at)
	}
	opens := map[string][]time.Time{} // pool -> when its windows open and its holds end
	for _, p := range w.seen.Head.Pools {
		for _, f := range w.state.Pools[p.Name].Waiting {
			for _, at := range w.until(p, f.Check) {
				sooner(at)
				if f.Check == "window" || f.Check == "hold" {
					opens[p.Name] = append(opens[p.Name], at)
				}
			}
		}
	}
	if next.IsZero() {
		return false
	}
	for pool, all := range opens {
		if slices.ContainsFunc(all, next.Equal) {
			w.waits[pool]++
		}
	}
	w.seen.Now = next
	w.finish()
	return true
}

// until is when what a check waits for may have come, by each of the rules that hold; none, or in
// the past, where that is no moment.
func (w *world) until(p render.Pool, check string) (out []time.Time) {
	st := w.state.Pools[p.Name]
	rules := []policy.Rollout{p.Policy, st.Rules.Rollout}
	if w.seen.Guardrail != nil {
		rules = append(rules, *w.seen.Guardrail)
	}
	for _, r := range rules {
		switch {
		case check == "window":
			out = append(out, r.State(w.seen.Now).Next)
		case check == "calm":
			out = append(out, st.AttemptAt.Add(time.Minute))
		case check == "soak":
			out = append(out, over(st.LastAt, r.Soak))
		case check == "canary" && r.Canary != nil:
			out = append(out, over(st.CanaryAt, r.Canary.Soak), over(st.HeadCanaryAt, r.Canary.Soak), over(st.GuardAt, r.Canary.Soak))
		}
	}
	for _, h := range w.seen.Holds {
		if check == "hold" && (h.Pool == "" || h.Pool == p.Name) {
			out = append(out, h.Until)
		}
	}
	return out
}

// over is when a soak that began then is over; zero where there is none.
func over(since time.Time, soak string) time.Time {
	d, err := time.ParseDuration(soak)
	if err != nil || since.IsZero() {
		return time.Time{}
	}
	return since.Add(d)
}

// remain puts the nodes that no wave has reached where they belong: behind the last wave when only
// the bound on steps ended the run, else among those that are left.
func (w *world) remain(pools []Pool, bounded bool) {
	inOrder := slices.SortedFunc(slices.Values(w.seen.Nodes), reconciler.Before)
	for i := range pools {
		p := &pools[i]
		var left []string
		for _, n := range inOrder {
			if w.member[n.Name] == p.Name && n.Report.Config != w.state.Pools[p.Name].Target {
				left = append(left, n.Name)
			}
		}
		st := w.state.Pools[p.Name]
		if !bounded || st.Phase != reconciler.Progressing {
			p.Left = left
			continue
		}
		limit, err := policy.Limit(find(w.seen.Head.Pools, p.Name).Strategy.MaxUnavailable, st.Counts.Nodes)
		if err == nil {
			p.Waves = slices.AppendSeq(p.Waves, slices.Chunk(left, limit))
		}
	}
}
