package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// outside is what people and other systems say beside Git.
type outside struct {
	holds   []policy.Hold
	reviews map[string]*source.Review         // by commit
	signed  map[string]*policy.Signature      // by commit
	shown   map[string]map[string]impact.Kind // commit -> pool -> what its preview said
	guard   *policy.Rollout
	self    string
	rewound *reconciler.Broken
	onto    reconciler.Head         // what the rewound revision renders to
	blocked map[string]string       // node -> the pod that no drain can evict, and what protects it
	lost    map[machine.Digest]bool // configs that the store has lost
	sick    string                  // what every health gate answers: "" nothing at all, "ok", "old", which was ok long ago, or what is wrong
	since   time.Time               // since when
}

// into adds it to a photograph. Gates are asked for the rules of the head, those in force, and the
// operator's.
func (x *outside) into(o *reconciler.Observed, state reconciler.State) {
	commit := o.Head.Revision.Commit
	o.Holds, o.Guardrail, o.Self, o.Rewound = slices.Clone(x.holds), x.guard, x.self, x.rewound
	o.Facts = policy.Facts{Review: x.reviews[commit], Signature: x.signed[commit], Reviewed: x.shown[commit]}
	if x.sick == "" {
		return
	}
	answer := policy.Probe{Healthy: x.sick == "ok" || x.sick == "old", Why: x.sick, At: o.Now}
	if x.sick == "old" {
		answer.At = x.since.Add(-time.Hour)
	}
	o.Facts.Probes = map[policy.HealthGate]policy.Probe{}
	ask := func(r policy.Rollout) {
		for _, g := range r.Health {
			o.Facts.Probes[g] = answer
		}
	}
	for _, p := range o.Head.Pools {
		ask(p.Policy)
		ask(state.Pools[p.Name].Rules.Rollout)
	}
	if x.guard != nil {
		ask(*x.guard)
	}
}

// PushRewound makes a revision the newest of the branch that does not descend from the head. That
// it is the head itself says that the branch was put back.
func (w *World) PushRewound(commit string, pools []render.Pool) {
	pools = w.learn(pools)
	w.show(func() {
		w.arrive(commit)
		w.broken = nil
		if commit == w.head.Revision.Commit {
			return
		}
		w.outside.onto = reconciler.Head{Revision: source.Revision{Ref: "main", Commit: commit}, Pools: pools}
		w.outside.rewound = &reconciler.Broken{
			Revision: w.outside.onto.Revision,
			Why:      fmt.Sprintf("main was rewritten and lost %s; allow it: sluice release --rewind %s", w.head.Revision.Commit, commit),
		}
	})
}

// Allow lets the fleet follow the branch that was rewritten. A commit that comes back is tried anew:
// what it did to nodes when it was the head before is held against nobody.
func (w *World) Allow() {
	if w.outside.rewound == nil {
		return
	}
	next := w.outside.onto
	w.outside.rewound = nil
	w.head, w.broken = next, nil
	for _, n := range w.nodes {
		if n.lost.commit == next.Revision.Commit {
			n.lost = loss{}
		}
		maps.DeleteFunc(n.boots, func(l loss, _ uint64) bool { return l.commit == next.Revision.Commit })
	}
}

// empty is what becomes of a drain: a pod that may not be evicted stays, unless it is deleted. To a
// node that is empty under our cordon no pod comes: to drain it once more changes nothing.
func (w *World) empty(n *node, d reconciler.Drain) {
	if n.Cordon == reconciler.Ours && n.Drained {
		return
	}
	n.Cordon, n.Blocked = reconciler.Ours, w.outside.blocked[n.Name]
	if d.Force {
		n.Blocked = ""
	}
	n.Drained = n.Blocked == "" && !w.drags
}

// operators are the script's verbs for them, each with the words that it needs:
//
//	hold POOL|all BY MINUTES|- REASON         an operator's hold; - lasts until it is released
//	release POOL|all                          ends those of the pool, or all of them
//	block NODE WHY | unblock NODE             a pod on the node that no drain can evict
//	rewrite c3 worker=reload:1                a commit that does not descend from the head
//	rewind c1                                 the branch is put back to an older commit, or to the head
//	allow                                     an operator lets the fleet follow it
//	guard {"soak": "5m"}                      the operator's guardrail, as JSON; "none" takes it away
//	self NODE                                 the node that the controller runs on
//	approve NAME | sign NAME|nobody           the head; nobody is a key that nobody trusts
//	preview KIND | preview POOL=KIND ...      what the preview of the head said before the merge
//	health ok|unknown|old|WHY                 what every health gate answers, from now on
//	forget NODE                               the store has lost the config that the node reports
//	retire POOL c4 | restore POOL c5          a commit without the pool, and one that has it again
//	storm N POOL                              N commits in as many tenths of a minute, each another reboot
//	reboots                                   how often each node has rebooted
var operators = map[string]struct {
	words int
	do    func(*Script, []string) error
}{
	"hold": {5, (*Script).hold}, "release": {2, (*Script).release}, "block": {3, (*Script).block}, "unblock": {2, (*Script).block},
	"rewrite": {3, (*Script).rewrite}, "rewind": {2, (*Script).rewind}, "allow": {1, (*Script).allow}, "guard": {2, (*Script).guard}, "self": {2, (*Script).self},
	"approve": {2, (*Script).approve}, "sign": {2, (*Script).sign}, "health": {2, (*Script).health},
	"preview": {2, (*Script).preview}, "forget": {2, (*Script).forget},
	"retire": {3, (*Script).retire}, "restore": {3, (*Script).retire},
	"storm": {3, (*Script).storm}, "reboots": {1, (*Script).reboots},
}

func (s *Script) hold(words []string) error {
	w := s.World
	h := policy.Hold{Pool: words[1], By: words[2], Since: w.Now, Reason: strings.Join(words[4:], " ")}
	if h.Pool == "all" {
		h.Pool = ""
	}
	if words[3] != "-" {
		minutes, err := strconv.Atoi(words[3])
		if err != nil {
			return err
		}
		h.Until = w.Now.Add(time.Duration(minutes) * time.Minute)
	}
	w.outside.holds = append(w.outside.holds, h)
	return nil
}

func (s *Script) release(words []string) error {
	x := &s.World.outside
	x.holds = slices.DeleteFunc(x.holds, func(h policy.Hold) bool { return words[1] == "all" || h.Pool == words[1] })
	return nil
}

func (s *Script) forget(words []string) error {
	x := &s.World.outside
	if x.lost == nil {
		x.lost = map[machine.Digest]bool{}
	}
	x.lost[s.World.node(words[1]).Report.Config] = true
	return nil
}

func (s *Script) block(words []string) error {
	x := &s.World.outside
	if x.blocked == nil {
		x.blocked = map[string]string{}
	}
	delete(x.blocked, words[1])
	if words[0] == "block" {
		x.blocked[words[1]] = strings.Join(words[2:], " ")
	}
	return nil
}

func (s *Script) rewrite(words []string) error {
	for _, w := range words[2:] {
		p, err := s.content(w)
		if err != nil {
			return err
		}
		s.pools[p.Name] = p
	}
	s.World.PushRewound(words[1], s.list())
	return nil
}

func (s *Script) rewind(words []string) error {
	old, ok := s.past[words[1]]
	if !ok {
		return fmt.Errorf("no commit %q", words[1])
	}
	for name, p := range s.pools {
		s.retired[name] = p
	}
	for name := range old {
		delete(s.retired, name)
	}
	s.pools = maps.Clone(old)
	s.World.PushRewound(words[1], s.list())
	return nil
}

func (s *Script) allow([]string) error {
	s.World.show(s.World.Allow)
	return nil
}

func (s *Script) guard(words []string) error {
	s.World.outside.guard = nil
	if words[1] == "none" {
		return nil
	}
	s.World.outside.guard = &policy.Rollout{}
	return json.Unmarshal([]byte(strings.Join(words[1:], " ")), s.World.outside.guard)
}

func (s *Script) self(words []string) error {
	s.World.outside.self = words[1]
	return nil
}

func (s *Script) approve(words []string) error {
	x, head := &s.World.outside, s.World.head.Revision.Commit
	r := source.Review{Proposal: 1, Author: "author", Head: head}
	if old := x.reviews[head]; old != nil {
		r = *old
	}
	r.Approvals = append(slices.Clone(r.Approvals), source.Approval{By: words[1], Commit: head})
	if x.reviews == nil {
		x.reviews = map[string]*source.Review{}
	}
	x.reviews[head] = &r
	return nil
}

func (s *Script) sign(words []string) error {
	x := &s.World.outside
	if x.signed == nil {
		x.signed = map[string]*policy.Signature{}
	}
	one := &policy.Signature{By: words[1]}
	if words[1] == "nobody" {
		one = &policy.Signature{Why: "it verifies with no trusted key"}
	}
	x.signed[s.World.head.Revision.Commit] = one
	return nil
}

func (s *Script) preview(words []string) error {
	w, said := s.World, map[string]impact.Kind{}
	for _, word := range words[1:] {
		pool, name, one := strings.Cut(word, "=")
		if !one {
			name = pool
		}
		kind, err := impact.ParseKind(name)
		if err != nil {
			return err
		}
		for _, p := range w.head.Pools {
			if !one || p.Name == pool {
				said[p.Name] = kind
			}
		}
	}
	if w.outside.shown == nil {
		w.outside.shown = map[string]map[string]impact.Kind{}
	}
	w.outside.shown[w.head.Revision.Commit] = said
	return nil
}

func (s *Script) health(words []string) error {
	s.World.outside.since = s.World.Now
	s.World.outside.sick = strings.TrimPrefix(strings.Join(words[1:], " "), "unknown")
	return nil
}

// storm pushes five commits per turn of the loop, most of which nobody ever sees.
func (s *Script) storm(words []string) error {
	count, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	for i := range count {
		commit := fmt.Sprintf("s%d", i+1)
		if err := s.push([]string{"push", commit, words[2] + "=reboot:" + commit}); err != nil {
			return err
		}
		if i%5 == 4 {
			s.World.Tick()
		}
	}
	s.World.Events = nil // a page of them says no more than what becomes of the nodes
	return nil
}

func (s *Script) retire(words []string) error {
	p, there := s.pools[words[1]]
	if away := words[0] == "retire"; away != there {
		return fmt.Errorf("the pool is there: %v", there)
	}
	if there {
		s.retired[words[1]] = p
		delete(s.pools, words[1])
	} else {
		s.pools[words[1]] = s.retired[words[1]]
		delete(s.retired, words[1])
	}
	return s.push([]string{"push", words[2]})
}

func (s *Script) reboots([]string) error {
	for _, n := range s.World.nodes {
		s.World.Events = append(s.World.Events, fmt.Sprintf("%s rebooted %d times", n.Name, n.booted))
	}
	return nil
}
