package loop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// previewed is a preview that stands, and what it was made from.
type previewed struct {
	said    reconciler.Proposal
	base    string
	fleet   string
	at      time.Time
	expires time.Time // when a window or a hold makes it another; zero is never
}

// stuck is a pull request whose preview cannot be made, and how long it is left alone.
type stuck struct {
	head string
	wait backoff
}

// relist is how often the forge is asked for pull requests when Git shows nothing new: closing one
// leaves no trace in Git. Merging one moves the branch, and its comment must stay as it was read.
const relist = 10 * time.Minute

// rework is how long a preview stands while only the nodes change.
const rework = time.Minute

// propose fills in what should stand below each open pull request.
func (l *Loop) propose(ctx context.Context, state reconciler.State, o *reconciler.Observed) {
	if !l.list(ctx) {
		return
	}
	o.Proposals = []reconciler.Proposal{}
	fleet := fingerprint(state, *o)
	for _, p := range l.eyes.proposals {
		if l.merged(ctx, *o, p.Number, p.Head) {
			continue // the forge has not noticed yet
		}
		if said, ok := l.foretell(ctx, state, *o, p, fleet); ok {
			o.Proposals = append(o.Proposals, said)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(l.eyes.previews)) {
		open := slices.ContainsFunc(l.eyes.proposals, func(p source.Proposal) bool { return p.Number == n })
		if !open && !l.merged(ctx, *o, n, l.eyes.previews[n].said.Head) {
			delete(l.eyes.previews, n) // closed: what was said stands
			delete(l.eyes.stuck, n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(l.eyes.merges)) {
		o.Proposals = append(o.Proposals, l.eyes.merges[n])
	}
}

// list asks the forge for its pull requests, when there may be another answer. It is false while
// nobody can know them.
func (l *Loop) list(ctx context.Context) bool {
	now := l.Now()
	seen, last := l.eyes.sighting, l.eyes.listedAt
	moved := seen.Head != last.Head || !maps.Equal(seen.Proposals, last.Proposals)
	if moved && l.shut.closed(now) {
		return false // what was open may be merged by now
	}
	if moved || now.Sub(l.eyes.listed).Abs() >= relist && !l.shut.closed(now) {
		list, err := l.Forge.Proposals(ctx)
		l.shut.note(err, now)
		if err != nil {
			l.Log.Warn("the forge does not list its pull requests", "error", err)
			return false
		}
		l.eyes.proposals, l.eyes.listed, l.eyes.listedAt = list, now, seen
	}
	return true
}

// foretell is what should be said of one pull request: what stands, where it still holds. One that
// cannot be previewed is left alone for longer and longer, until its head moves.
func (l *Loop) foretell(ctx context.Context, state reconciler.State, o reconciler.Observed, p source.Proposal, fleet string) (reconciler.Proposal, bool) {
	old, ok := l.eyes.previews[p.Number]
	same := ok && old.said.Head == p.Head && old.base == o.Head.Revision.Commit
	late := !old.expires.IsZero() && !o.Now.Before(old.expires)
	if same && !late && (old.fleet == fleet || o.Now.Sub(old.at).Abs() < rework) {
		return old.said, true
	}
	trouble := l.eyes.stuck[p.Number]
	if trouble.head != p.Head {
		trouble = stuck{head: p.Head}
	}
	if trouble.wait.closed(o.Now) {
		return old.said, ok
	}
	fresh, err := l.preview(ctx, state, o, p)
	trouble.wait.note(err, o.Now)
	if l.eyes.stuck == nil {
		l.eyes.stuck, l.eyes.previews = map[int]stuck{}, map[int]previewed{}
	}
	if l.eyes.stuck[p.Number] = trouble; err != nil {
		l.Log.Warn("the preview is missing or not up to date", "proposal", p.Number, "again", trouble.wait.until, "error", err)
		return old.said, ok
	}
	fresh.fleet = fleet
	l.eyes.previews[p.Number] = fresh
	return fresh.said, true
}

// merged says whether a pull request is part of the followed branch by now. Its comment stays as
// it was read before the merge, and is told once where the story goes on.
func (l *Loop) merged(ctx context.Context, o reconciler.Observed, number int, commit string) bool {
	if _, ok := l.eyes.merges[number]; ok {
		return true
	}
	squashed := o.Facts.Review != nil && o.Facts.Review.Proposal == number && o.Facts.Review.Head == commit
	if !squashed {
		if base, err := l.Source.MergeBase(ctx, o.Head.Revision.Commit, commit); err != nil || base != commit {
			return false
		}
	}
	said := l.eyes.previews[number].said
	delete(l.eyes.previews, number)
	if said.Body != "" {
		if len(l.eyes.merges) >= 100 || l.eyes.merges == nil {
			l.eyes.merges = map[int]reconciler.Proposal{}
		}
		said.Body += preview.Merged(o.Head.Revision.Commit)
		said.Kinds = nil
		l.eyes.merges[number] = said
	}
	return true
}

// preview is what should be said of one pull request. An author's mistake is its text, not an
// error. What comes from a fork hears nothing of the nodes, and gets no comment: anybody may open
// one; a draft gets none either, since nobody asks to be heard yet.
func (l *Loop) preview(ctx context.Context, state reconciler.State, o reconciler.Observed, p source.Proposal) (previewed, error) {
	base := o.Head.Revision.Commit
	said := reconciler.Proposal{Number: p.Number, Head: p.Head, Base: base, State: source.Failure}
	quiet := p.Fork || p.Draft
	after, err := l.render(ctx, p.Head)
	if err != nil {
		return previewed{}, err
	}
	if after.mistake != nil {
		said.Summary = "not rendered: " + brief(after.mistake)
		if !quiet {
			said.Body = preview.Mistakes(p.Head, after.mistake)
		}
		return previewed{said: said, base: base, at: o.Now}, nil
	}
	fork, err := l.Source.MergeBase(ctx, base, p.Head)
	if err != nil {
		return previewed{}, err
	}
	var before rendering
	if fork != "" { // else it shares nothing with the branch, and changes everything
		if before, err = l.render(ctx, fork); err != nil {
			return previewed{}, err
		}
		switch {
		case before.mistake == nil:
		case fork == base:
			before.result.Pools = o.Head.Pools // in force all the same: see good
		default: // what it changes, or takes away, cannot be told
			said.Summary = "no preview: it begins at " + source.Short(fork) + ", which does not render: merge the branch into it"
			if !quiet {
				said.Body = "### Sluice: " + said.Summary + "\n"
			}
			return previewed{said: said, base: base, at: o.Now}, nil
		}
	}
	in := preview.Input{
		Base: base, Head: p.Head, MergeBase: fork, Before: before.result.Pools, After: after.result.Pools,
		Notices: render.Added(before.result.Notices, after.result.Notices), State: state, Nodes: o.Nodes, Known: o.Known, Gate: o.Gate, Now: o.Now,
		Holds: o.Holds, Facts: policy.Facts{Probes: o.Facts.Probes}, Guardrail: o.Guardrail, Self: o.Self,
	}
	if fork != "" && fork != base {
		in.Standing = o.Head.Pools
	}
	if p.Fork {
		in.State, in.Nodes, in.Known, in.Holds, in.Facts = reconciler.State{}, nil, nil, nil, policy.Facts{}
	}
	in.Queued = l.queued(ctx, in)
	report := preview.Make(in)
	said.Summary, said.Kinds = report.Sentence(), report.Kinds()
	if report.Verdict < policy.Deny {
		said.State = source.Success
	}
	if !quiet {
		said.Body = report.Markdown()
	}
	return previewed{said: said, base: base, at: o.Now, expires: report.Expires}, nil
}

// queued lists what the nodes that are behind have yet to take up, up to the base. What cannot be
// found out is not told.
func (l *Loop) queued(ctx context.Context, in preview.Input) map[string][]string {
	var out map[string][]string
	for _, commit := range in.Behind() {
		list, err := l.Source.Between(ctx, commit, in.Base)
		if err != nil {
			l.Log.Warn("the commits that nodes have yet to take up are not known", "since", source.Short(commit), "error", err)
			continue
		}
		if out == nil {
			out = map[string][]string{}
		}
		out[commit] = append(list, in.Base)
	}
	return out
}

// fingerprint tells two fleets apart by what a preview sees of them, the commits and the time
// aside.
func fingerprint(state reconciler.State, o reconciler.Observed) string {
	h := sha256.New()
	for _, n := range o.Nodes {
		fmt.Fprintln(h, n.Name, n.Labels, n.Ready, n.Cordon, n.Order.Config, n.Report.Config, n.Report.Phase, n.Report.Drift)
	}
	for _, name := range slices.Sorted(maps.Keys(state.Pools)) {
		p := state.Pools[name]
		fmt.Fprintln(h, name, p.Target, p.Halt, p.Spurned, p.CanaryAt, p.HeadCanaryAt)
		_ = json.NewEncoder(h).Encode(p.Rules) // strings and numbers only
	}
	_ = json.NewEncoder(h).Encode([]any{o.Holds, o.Guardrail, o.Self})
	return hex.EncodeToString(h.Sum(nil))
}

// reviewed is what people had been shown before the head's revision came to the branch: the worst
// that the previews of its pull requests said, pool by pool. Nil where none was shown, or nobody
// knows which pull request it was.
func (l *Loop) reviewed(ctx context.Context, state reconciler.State, o reconciler.Observed) map[string]impact.Kind {
	head := o.Head.Revision.Commit
	if r := state.Reviewed; r != nil && r.Commit == head {
		return r.Known()
	}
	var came []reconciler.Shown
	if good := state.Good.Commit; good != "" && good != head { // seen for the first time
		for _, n := range slices.Sorted(maps.Keys(state.Shown)) {
			if shown := state.Shown[n]; l.holds(ctx, head, shown.Head) && !l.holds(ctx, good, shown.Head) {
				came = append(came, shown)
			}
		}
	}
	if r := o.Facts.Review; len(came) == 0 && r != nil && r.Proposal > 0 { // squashed, or rebased: the forge remembers
		if shown, ok := state.Shown[r.Proposal]; ok && shown.Head == r.Head {
			came = append(came, shown)
		}
	}
	if len(came) == 0 {
		return nil
	}
	out := map[string]impact.Kind{}
	for _, shown := range came {
		worst(out, shown.Kinds)
		if r := state.Reviewed; r != nil && r.Commit == state.Good.Commit && shown.Base != r.Commit {
			worst(out, r.Kinds) // it was merged before its preview knew of the commit below
		}
	}
	return out
}

// holds says that a commit is part of a history. It is false where that cannot be found out.
func (l *Loop) holds(ctx context.Context, history, commit string) bool {
	base, err := l.Source.MergeBase(ctx, history, commit)
	return err == nil && base == commit
}

func worst(into, kinds map[string]impact.Kind) {
	for pool, kind := range kinds {
		into[pool] = max(into[pool], kind)
	}
}
