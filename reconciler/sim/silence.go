package sim

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/reconciler"
)

// unheard is a node whose agent nobody has heard: it is new, or what the cluster kept of it was deleted.
// Its agent, if it runs, says at its next look how the node is.
// What it did before is held against nobody.
func (w *World) unheard(n *node) {
	n.Order, n.Mute, n.boots, n.lost = nodeops.Order{}, true, nil, loss{}
}

// hear lets an agent speak up that nobody has heard. A machine that is down says nothing.
func (w *World) hear(n *node) {
	if !n.Mute || w.apiAway || !n.Ready && n.work > 0 {
		return
	}
	n.Mute = false
	w.say("%s is heard", n.Name)
}

// mute hides what nobody has heard.
func mute(nodes []reconciler.Node) {
	for i := range nodes {
		if nodes[i].Mute {
			nodes[i].Report = nodeops.Report{}
		}
	}
}

// theUnheardAreLeftAlone: a node whose agent nobody has heard is neither drained nor ordered, and one
// that is going down, as far as anybody can know, gets no work back.
func (w *World) theUnheardAreLeftAlone(y *yard, e reconciler.Effect) {
	seen, there := y.nodes[about(e)]
	if !there || !seen.Mute {
		return
	}
	n := w.node(seen.Name)
	if _, back := e.(reconciler.Uncordon); !back {
		w.violate("%s was begun although its agent was never heard", n.Name)
	} else if n.work > 0 && impact.Drains(impact.Worst(impact.Diff(w.configs[n.Report.Config], w.configs[n.taken.Config], n.taken.Rules))) {
		w.violate("%s was given work back while it is half way, and nobody hears it", n.Name)
	}
}

// restart is a controller that starts anew, with nothing but what was saved. While Git answers it sees
// the same as before. While Git is silent it goes by what it remembers; what it had seen and never
// saved comes when Git is back.
func (w *World) restart() error {
	text, err := json.Marshal(w.State)
	if err != nil {
		return err
	}
	w.State = reconciler.State{}
	if err := json.Unmarshal(text, &w.State); err != nil {
		return err
	}
	w.pending = nil // whoever stopped before it saved is gone
	saved := w.State.Seen == w.newest() && w.State.Good.Commit == w.head.Revision.Commit
	if w.recalls = w.gitAway; !w.recalls || saved {
		return nil
	}
	head, broken, rewound, onto := w.head, w.broken, w.outside.rewound, w.outside.onto
	w.shelf = slices.Insert(w.shelf, 0, func() { w.head, w.broken, w.outside.rewound, w.outside.onto = head, broken, rewound, onto })
	w.outside.rewound, w.broken = w.State.Aside()
	w.head, err = w.State.Recall(w.configs)
	for name := range w.judged {
		w.judged[name] = w.head.Revision.Commit
	}
	if err != nil {
		w.head = reconciler.Head{} // nothing was ever saved
	}
	return nil
}

// newest is the newest commit that Git has shown.
func (w *World) newest() string {
	switch {
	case w.outside.rewound != nil:
		return w.outside.rewound.Revision.Commit
	case w.broken != nil:
		return w.broken.Revision.Commit
	}
	return w.head.Revision.Commit
}

// recall makes a photograph that of a controller which has started while Git is silent. It is false
// where too little is remembered to decide anything.
func (w *World) recall(o *reconciler.Observed) bool {
	if !w.recalls {
		return true
	}
	o.Skipped = nil
	o.Rewound, o.Broken = w.State.Aside()
	if o.Silent = "no route"; w.State.Good.Commit == "" {
		o.Head = reconciler.Head{}
		return true
	}
	var err error
	if o.Head, err = w.State.Recall(o.Known); err != nil {
		w.say("nothing is decided: %v", err)
	}
	return err == nil
}

// recallsWell: whoever goes by what is remembered decides as if Git were there to be read. So nothing is
// begun by it that would not have been, and what was begun is finished.
func (w *World) recallsWell(seen reconciler.Observed, next reconciler.State, effects []reconciler.Effect) {
	if !w.recalls {
		return
	}
	seen.Head, seen.Broken, seen.Rewound = w.head, w.broken, w.outside.rewound
	seen.Nodes = slices.Clone(seen.Nodes)
	state, would := w.Step(w.State, seen)
	if is, want := told(next, effects), told(state, would); is != want {
		w.violate("what is remembered of %s decides otherwise than the commit itself: %s", w.head.Revision.Commit, firstDifference(is, want))
	}
}

func told(s reconciler.State, effects []reconciler.Effect) string {
	text, err := json.Marshal(s)
	return fmt.Sprint(string(text), err, fmt.Sprintf("%+v", effects))
}

// firstDifference is where two texts part.
func firstDifference(is, want string) string {
	i := 0
	for i < min(len(is), len(want)) && is[i] == want[i] {
		i++
	}
	cut := func(s string) string { return s[max(0, i-40):min(len(s), i+80)] }
	return fmt.Sprintf("%q instead of %q", cut(is), cut(want))
}

// hush makes worlds in which some agents do not run from the start.
func (a *author) hush() {
	if !a.chance(.2) {
		return
	}
	for _, n := range a.World.nodes {
		if a.chance(.3) {
			a.unheard(n.Name)
		}
	}
}

// unheard is a node whose agent does not run, or does not run yet.
func (a *author) unheard(name string) {
	a.do("node %s mute", name)
	if a.chance(.7) {
		a.do("node %s silent", name)
	}
}
