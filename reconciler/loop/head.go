package loop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// head fills in the newest revision that may be followed, and the newest one when that may not: it
// does not render, or its branch was rewritten.
func (l *Loop) head(ctx context.Context, state reconciler.State, allowed string, o *reconciler.Observed) error {
	newest := l.eyes.sighting.Head
	if newest.Commit == "" { // git has not answered since we started: all is as it was, and nobody can read what may be allowed
		if o.Rewound, o.Broken = state.Aside(); o.Rewound != nil || o.Broken != nil {
			return l.fall(ctx, state, state.Seen, o)
		}
		newest = state.Good
	}
	if newest.Commit == "" {
		return nil
	}
	if why := l.rewound(ctx, state, newest); why != "" && newest.Commit != allowed {
		o.Rewound = &reconciler.Broken{Revision: newest, Why: why}
		return l.fall(ctx, state, newest.Commit, o)
	}
	if l.eyes.gitErr != nil && newest.Commit == state.Good.Commit {
		return l.fall(ctx, state, newest.Commit, o) // which need not ask a remote that is silent
	}
	seen, err := l.render(ctx, newest.Commit)
	if err != nil && state.Good.Commit != "" {
		if state.Good.Commit != newest.Commit {
			l.complain(l.Log.Warn, "the newest revision cannot be read; the last good one stays in force", err, "commit", newest.Short())
		}
		return l.fall(ctx, state, state.Good.Commit, o)
	}
	if err != nil {
		return fmt.Errorf("render %s: %w", newest.Short(), err)
	}
	l.between(ctx, state, newest.Commit, o)
	if seen.mistake == nil {
		o.Head = reconciler.Head{Revision: newest, Pools: seen.result.Pools}
		return nil
	}
	o.Broken = &reconciler.Broken{Revision: newest, Why: brief(seen.mistake)}
	return l.fall(ctx, state, newest.Commit, o)
}

// fall goes back to the last good revision, if there is one.
func (l *Loop) fall(ctx context.Context, state reconciler.State, newest string, o *reconciler.Observed) error {
	l.between(ctx, state, newest, o)
	if state.Good.Commit == "" {
		return nil
	}
	pools, err := l.good(ctx, state)
	if err != nil && o.Rewound != nil {
		return fmt.Errorf("render %s: %w; %s", state.Good.Short(), err, o.Rewound.Why)
	}
	if err != nil {
		return fmt.Errorf("render %s: %w", state.Good.Short(), err)
	}
	o.Head = reconciler.Head{Revision: state.Good, Pools: pools}
	return nil
}

// good are the pools of the last good revision: rendered, or as they are remembered where that needs a
// remote which is silent, or a release that takes what this one refuses.
func (l *Loop) good(ctx context.Context, state reconciler.State) ([]render.Pool, error) {
	if _, seen := l.eyes.rendered[state.Good.Commit]; !seen && l.eyes.gitErr != nil {
		if pools, err := l.recall(ctx, state); err == nil {
			return pools, nil
		}
	}
	r, err := l.render(ctx, state.Good.Commit)
	if err == nil && r.mistake == nil {
		return r.result.Pools, nil
	}
	if err == nil { // another release took it: to have no pools now would let the whole fleet go
		err = errors.New(brief(r.mistake))
		l.complain(l.Log.Warn, "this release does not render the revision in force, which stays as it is remembered; the next commit must mend it", err, "commit", state.Good.Short())
	}
	pools, lost := l.recall(ctx, state)
	if lost != nil {
		return nil, fmt.Errorf("%w; and it is not remembered: %w", err, lost)
	}
	return pools, nil
}

// recall is the last good revision from what is remembered of it, where it cannot be read: a
// controller that started while Git is silent must finish, too, what is under way.
func (l *Loop) recall(ctx context.Context, state reconciler.State) ([]render.Pool, error) {
	known := map[machine.Digest]machine.Config{}
	for _, o := range state.Outlines {
		c, ok := l.eyes.kept[o.Target]
		if !ok {
			var err error
			if c, ok, err = l.Store.Config(ctx, o.Target); err != nil {
				return nil, fmt.Errorf("read config %s: %w", o.Target.Short(), err)
			}
		}
		if ok {
			known[o.Target] = c
			l.learn(o.Target, c)
		}
	}
	head, err := state.Recall(known)
	return head.Pools, err
}

// between lists what the branch went through since it was last seen.
func (l *Loop) between(ctx context.Context, state reconciler.State, newest string, o *reconciler.Observed) {
	if state.Seen == "" || state.Seen == newest || o.Skipped != nil {
		return
	}
	var err error
	if o.Skipped, err = l.Source.Between(ctx, state.Seen, newest); err != nil {
		l.complain(l.Log.Warn, "the commits between two looks are not known", err)
	}
}

// descent is what was found of some commits; that never changes.
type descent struct{ good, passed, newest, why string }

// rewound says why a revision must not simply follow the good one: it descends neither from that nor
// from one that was to follow it already, and did not render. "" says that it does, that there is none
// before it, or that the operator chose another branch or repository. A history that cannot be read
// holds the new one: what is gone was rewritten, most likely.
func (l *Loop) rewound(ctx context.Context, state reconciler.State, newest source.Revision) string {
	good := state.Good
	if good.Commit == "" || good.Commit == newest.Commit || good.Repo != newest.Repo || good.Ref != newest.Ref {
		return ""
	}
	found := descent{good: good.Commit, passed: passed(state), newest: newest.Commit}
	if known := l.eyes.follows; known.good == found.good && known.passed == found.passed && known.newest == found.newest {
		return known.why
	}
	var doubt error
	for _, older := range []string{found.good, found.passed} {
		if older == "" {
			continue
		}
		base, err := l.Source.MergeBase(ctx, newest.Commit, older)
		if err == nil && base == older {
			l.eyes.follows = found
			return ""
		}
		doubt = cmp.Or(doubt, err)
	}
	branch := cmp.Or(strings.TrimPrefix(newest.Ref, "refs/heads/"), "the branch")
	found.why = fmt.Sprintf("%s was rewritten and lost %s; allow it: sluice release --rewind %s", branch, good.Short(), newest.Short())
	if doubt != nil {
		l.complain(l.Log.Warn, "it cannot be found out whether the newest revision descends from the last good one; it is held", doubt, "commit", newest.Short(), "good", good.Short())
		return found.why // asked again: the answer may come yet
	}
	l.eyes.follows = found
	return found.why
}

// passed is the commit that would be followed if it rendered; "" is none. An operator who has allowed a
// rewritten branch that does not render has allowed what mends it.
func passed(state reconciler.State) string {
	for _, st := range state.Refused {
		if st.State == source.Failure {
			return st.Commit
		}
	}
	return ""
}

// keepFleet refuses a revision that would let the whole fleet go.
func (l *Loop) keepFleet(ctx context.Context, state reconciler.State, o *reconciler.Observed) error {
	if o.Broken != nil || o.Rewound != nil || o.Head.Revision.Commit == "" || o.Head.Revision.Commit == state.Good.Commit {
		return nil // what is followed already has let nobody go: people have changed labels
	}
	mistake := abandons(state, o.Head.Pools, o.Nodes)
	if mistake == nil {
		return nil
	}
	newest := o.Head.Revision
	o.Broken, o.Head = &reconciler.Broken{Revision: newest, Why: brief(mistake)}, reconciler.Head{}
	return l.fall(ctx, state, newest.Commit, o)
}

// abandons is the mistake of a revision that would let the whole fleet go: no node that ever had an
// order of ours is in a pool any more, be it that nothing is rendered, or that no selector fits. It
// is refused, since it is never meant; to retire a fleet is to stop its controller.
func abandons(state reconciler.State, pools []render.Pool, nodes []reconciler.Node) render.Errors {
	if len(state.Pools) == 0 {
		return nil
	}
	const retire = "put them back; to retire a fleet, stop its controller"
	if len(pools) == 0 {
		return render.Errors{{File: ".", Why: fmt.Sprintf("no pool is rendered any more, and the fleet has %d: %s", len(state.Pools), retire)}}
	}
	had := 0
	for i := range nodes {
		if nodes[i].Order.Generation == 0 {
			continue
		}
		if pool, err := render.Member(pools, nodes[i].Labels); err != nil || pool != "" {
			return nil
		}
		had++
	}
	if had == 0 {
		return nil
	}
	return render.Errors{{File: ".", Why: fmt.Sprintf("no pool selects any of the %d nodes that the fleet has: %s", had, retire)}}
}

// brief is a list of mistakes in one line.
func brief(mistakes render.Errors) string {
	if more := len(mistakes) - 1; more > 0 {
		return fmt.Sprintf("%v (and %d more)", mistakes[0], more)
	}
	return mistakes[0].Error()
}

// render is what a commit renders to. An author's mistake is a result; an error means that we
// could not find out.
func (l *Loop) render(ctx context.Context, commit string) (rendering, error) {
	if r, ok := l.eyes.rendered[commit]; ok {
		return r, nil
	}
	r, err := l.build(ctx, commit)
	if err != nil {
		return r, err
	}
	if len(l.eyes.rendered) >= 64 || l.eyes.rendered == nil {
		l.eyes.rendered = map[string]rendering{}
	}
	l.eyes.rendered[commit] = r
	return r, nil
}

func (l *Loop) build(ctx context.Context, commit string) (r rendering, err error) {
	tree, err := l.Source.Tree(ctx, commit)
	if err != nil {
		return r, fmt.Errorf("read tree: %w", err)
	}
	builds, err := l.Build(tree)
	if err == nil {
		r.result, err = l.Render.Pools(builds)
	}
	var one render.Error
	switch {
	case errors.As(err, &r.mistake):
		return r, nil
	case errors.As(err, &one):
		r.mistake = render.Errors{one}
		return r, nil
	}
	return r, err
}
