package loop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// eyes is what the loop has seen and need not look up again. Losing it costs time only.
type eyes struct {
	looked    time.Time
	gitErr    error // of that look
	sighting  source.Sighting
	rendered  map[string]rendering // by commit: a commit never renders to anything else
	kept      map[machine.Digest]machine.Config
	proposals []source.Proposal
	listed    time.Time
	listedAt  source.Sighting // what Git showed then
	previews  map[int]previewed
	merges    map[int]reconciler.Proposal // the last words on those that were merged
}

type rendering struct {
	result  render.Result
	mistake render.Errors // the author's; nil when it renders
}

// observe takes the photograph. A remote or a forge that does not answer leaves what was last
// seen in force; only a fleet that cannot be read ends the tick.
func (l *Loop) observe(ctx context.Context, state reconciler.State) (reconciler.Observed, error) {
	o := reconciler.Observed{Now: l.Now(), Gate: l.Gate}
	l.look(ctx)
	if err := l.head(ctx, state, &o); err != nil {
		return o, err
	}
	var err error
	if o.Nodes, err = l.Fleet.Nodes(ctx); err != nil {
		return o, fmt.Errorf("read nodes: %w", err)
	}
	if o.Known, err = l.known(ctx, state, o); err != nil {
		return o, err
	}
	if l.Forge != nil && o.Head.Revision.Commit != "" {
		l.propose(ctx, state, &o)
	}
	return o, nil
}

// look asks the remote, unless it was asked within the poll interval.
func (l *Loop) look(ctx context.Context) {
	if now := l.Now(); l.eyes.looked.IsZero() || now.Sub(l.eyes.looked) >= l.Poll {
		sighting, err := l.Source.Look(ctx)
		if l.eyes.gitErr = err; err != nil {
			l.Log.Warn("git does not answer; the last revision stays in force", "error", err)
		}
		if sighting.Head.Commit != "" {
			l.eyes.sighting = sighting
		}
		l.eyes.looked = now
	}
}

// head fills in the newest revision that renders, and the newest one when that does not.
func (l *Loop) head(ctx context.Context, state reconciler.State, o *reconciler.Observed) error {
	newest := l.eyes.sighting.Head
	if newest.Commit == "" {
		newest = state.Good // git has not answered since we started
	}
	if newest.Commit == "" {
		return nil
	}
	seen, err := l.render(ctx, newest.Commit)
	if err != nil && state.Good.Commit != "" && state.Good.Commit != newest.Commit {
		l.Log.Warn("the newest revision cannot be read; the last good one stays in force", "commit", newest.Short(), "error", err)
		newest = state.Good
		seen, err = l.render(ctx, newest.Commit)
	}
	if err != nil {
		return fmt.Errorf("render %s: %w", newest.Short(), err)
	}
	if state.Seen != "" && state.Seen != newest.Commit {
		if o.Skipped, err = l.Source.Between(ctx, state.Seen, newest.Commit); err != nil {
			l.Log.Warn("the commits between two looks are not known", "error", err)
		}
	}
	o.Head = reconciler.Head{Revision: newest, Pools: seen.result.Pools}
	if len(seen.result.Pools) == 0 && len(state.Pools) > 0 && seen.mistake == nil {
		seen.mistake = render.Errors{{File: ".", Why: fmt.Sprintf("no pool is rendered any more, and the fleet has %d: put them back; to retire a fleet, stop its controller", len(state.Pools))}}
	}
	if seen.mistake == nil {
		return nil
	}
	o.Broken = &reconciler.Broken{Revision: newest, Why: brief(seen.mistake)}
	o.Head = reconciler.Head{}
	if state.Good.Commit == "" {
		return nil
	}
	good, err := l.render(ctx, state.Good.Commit)
	if err != nil {
		return fmt.Errorf("render %s: %w", state.Good.Short(), err)
	}
	o.Head = reconciler.Head{Revision: state.Good, Pools: good.result.Pools}
	return nil
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

// keep stores a config before any order can name it.
func (l *Loop) keep(ctx context.Context, p render.Pool) error {
	d := p.Target()
	if _, ok := l.eyes.kept[d]; ok {
		return nil
	}
	if err := l.Store.Keep(ctx, p.Config); err != nil {
		return err
	}
	l.learn(d, p.Config)
	return nil
}

func (l *Loop) learn(d machine.Digest, c machine.Config) {
	if l.eyes.kept == nil {
		l.eyes.kept = map[machine.Digest]machine.Config{}
	}
	l.eyes.kept[d] = c
}

// known gathers every config that a node or a pool names. One that is gone stays unknown: moving
// away from it costs a reboot.
func (l *Loop) known(ctx context.Context, state reconciler.State, o reconciler.Observed) (map[machine.Digest]machine.Config, error) {
	out := map[machine.Digest]machine.Config{}
	for _, p := range o.Head.Pools {
		out[p.Target()] = p.Config
	}
	named := []machine.Digest{}
	for _, p := range state.Pools {
		named = append(named, p.Target, p.Spurned)
		for _, l := range p.History {
			named = append(named, l.Config) // what a rollback may go back to
		}
		for _, b := range p.Begun {
			named = append(named, b.Sent...)
		}
	}
	for _, n := range o.Nodes {
		named = append(named, n.Report.Config, n.Order.Config)
	}
	slices.Sort(named)
	for _, d := range slices.Compact(named) {
		if _, ok := out[d]; ok || d == "" {
			continue
		}
		if c, ok := l.eyes.kept[d]; ok {
			out[d] = c
			continue
		}
		c, ok, err := l.Store.Config(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("read config %s: %w", d.Short(), err)
		}
		if ok {
			out[d] = c
			l.learn(d, c)
		}
	}
	return out, nil
}

// previewed is a preview that stands, and what it was made from.
type previewed struct {
	said  reconciler.Proposal
	base  string
	fleet string
	at    time.Time
}

// relist is how often the forge is asked for pull requests when Git shows nothing new: closing one
// leaves no trace in Git. Merging one moves the branch, and its comment must stay as it was read.
const relist = 10 * time.Minute

// rework is how long a preview stands while only the nodes change.
const rework = time.Minute

// propose fills in what should stand below each open pull request.
func (l *Loop) propose(ctx context.Context, state reconciler.State, o *reconciler.Observed) {
	now := l.Now()
	seen, last := l.eyes.sighting, l.eyes.listedAt
	moved := seen.Head != last.Head || !maps.Equal(seen.Proposals, last.Proposals)
	if moved && l.shut.closed(now) {
		return // what was open may be merged by now
	}
	if moved || now.Sub(l.eyes.listed) >= relist && !l.shut.closed(now) {
		list, err := l.Forge.Proposals(ctx)
		l.shut.note(err, now)
		if err != nil {
			l.Log.Warn("the forge does not list its pull requests", "error", err)
			return
		}
		l.eyes.proposals, l.eyes.listed, l.eyes.listedAt = list, now, seen
	}
	o.Proposals = []reconciler.Proposal{}
	fleet := fingerprint(o.Nodes)
	for _, p := range l.eyes.proposals {
		if l.merged(ctx, o.Head.Revision, p.Number, p.Head) {
			continue // the forge has not noticed yet
		}
		old, ok := l.eyes.previews[p.Number]
		same := ok && old.said.Head == p.Head && old.base == o.Head.Revision.Commit
		if !same || old.fleet != fleet && now.Sub(old.at) >= rework {
			said, err := l.preview(ctx, state, *o, p)
			switch {
			case err != nil && !ok:
				l.Log.Warn("no preview", "proposal", p.Number, "error", err)
				continue
			case err != nil:
				l.Log.Warn("the preview is not up to date", "proposal", p.Number, "error", err)
			default:
				old = previewed{said, o.Head.Revision.Commit, fleet, now}
			}
			if l.eyes.previews == nil {
				l.eyes.previews = map[int]previewed{}
			}
			l.eyes.previews[p.Number] = old
		}
		o.Proposals = append(o.Proposals, old.said)
	}
	for _, n := range slices.Sorted(maps.Keys(l.eyes.previews)) {
		open := slices.ContainsFunc(l.eyes.proposals, func(p source.Proposal) bool { return p.Number == n })
		if !open && !l.merged(ctx, o.Head.Revision, n, l.eyes.previews[n].said.Head) {
			delete(l.eyes.previews, n) // closed: what was said stands
		}
	}
	for _, n := range slices.Sorted(maps.Keys(l.eyes.merges)) {
		o.Proposals = append(o.Proposals, l.eyes.merges[n])
	}
}

// merged says whether a pull request is part of the followed branch by now. Its comment stays as
// it was read before the merge, and is told once where the story goes on.
func (l *Loop) merged(ctx context.Context, head source.Revision, number int, commit string) bool {
	if _, ok := l.eyes.merges[number]; ok {
		return true
	}
	if base, err := l.Source.MergeBase(ctx, head.Commit, commit); err != nil || base != commit {
		return false
	}
	said := l.eyes.previews[number].said
	delete(l.eyes.previews, number)
	if said.Body != "" {
		if len(l.eyes.merges) >= 100 || l.eyes.merges == nil {
			l.eyes.merges = map[int]reconciler.Proposal{}
		}
		said.Body += preview.Merged(head.Commit)
		l.eyes.merges[number] = said
	}
	return true
}

// preview is what should be said of one pull request. An author's mistake is its text, not an
// error. What comes from a fork hears nothing of the nodes, and gets no comment: anybody may open
// one; a draft gets none either, since nobody asks to be heard yet.
func (l *Loop) preview(ctx context.Context, state reconciler.State, o reconciler.Observed, p source.Proposal) (reconciler.Proposal, error) {
	said := reconciler.Proposal{Number: p.Number, Head: p.Head, State: source.Failure}
	quiet := p.Fork || p.Draft
	after, err := l.render(ctx, p.Head)
	if err != nil {
		return said, err
	}
	if after.mistake != nil {
		said.Summary = "not rendered: " + brief(after.mistake)
		if !quiet {
			said.Body = preview.Mistakes(p.Head, after.mistake)
		}
		return said, nil
	}
	base := o.Head.Revision.Commit
	fork, err := l.Source.MergeBase(ctx, base, p.Head)
	if err != nil {
		return said, err
	}
	var before rendering
	if fork != "" { // else it shares nothing with the branch, and changes everything
		if before, err = l.render(ctx, fork); err != nil {
			return said, err
		}
	}
	in := preview.Input{
		Base: base, Head: p.Head, MergeBase: fork, Before: before.result.Pools, After: after.result.Pools,
		Notices: added(before.result.Notices, after.result.Notices), State: state, Nodes: o.Nodes, Known: o.Known, Rules: o.Rules, Gate: o.Gate, Now: o.Now,
	}
	if p.Fork {
		in.State, in.Nodes, in.Known = reconciler.State{}, nil, nil
	}
	report := preview.Make(in)
	said.Summary = report.Sentence()
	if report.Verdict < policy.Deny {
		said.State = source.Success
	}
	if !quiet {
		said.Body = report.Markdown()
	}
	return said, nil
}

// added are the notices that a proposal brings.
func added(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(after), func(n string) bool { return slices.Contains(before, n) })
}

// fingerprint tells two fleets apart by what a preview sees of them.
func fingerprint(nodes []reconciler.Node) string {
	h := sha256.New()
	for _, n := range nodes {
		fmt.Fprintln(h, n.Name, n.Labels, n.Ready, n.Cordon, n.Order.Config, n.Report.Config, n.Report.Phase, n.Report.Drift)
	}
	return hex.EncodeToString(h.Sum(nil))
}
