package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// Decide says what a node does next about its order. Target is the config that the order names;
// it matters only while the journal Hears the order. Called again and again with the outcome of
// its last answer, it comes to a step that Ends the look.
func Decide(want nodeops.Order, target machine.Config, have Local) Job {
	j := have.Journal
	switch {
	case have.Lost != "":
		return recall(want, have)
	case have.Fresh:
		return begin(want, have)
	case have.Trouble != "" && j.Stage != Rest:
		return undo(have, have.Trouble)
	case j.Stage == Booting && have.booted(j):
		return verify(have) // what was booted is judged before anything newer is heard
	case j.Hears(want):
		return take(want, target, have)
	}
	switch j.Stage {
	case Writing:
		return write(have, j, have.Configs[j.Goal])
	case Acting:
		return act(have)
	case Booting:
		return reboot(have)
	case Verifying:
		return verify(have)
	case Rest:
	}
	return have.job(Idle, j)
}

// Hears says whether an order is news: a newer generation, or one that expired or was refused
// and is now permitted for longer. What was refused once never begins by itself later: whoever
// ordered it may have given the node's turn to another.
func (j Journal) Hears(o nodeops.Order) bool {
	if o.Generation != j.Order.Generation {
		return o.Generation > j.Order.Generation
	}
	until := j.Order.NotAfter
	longer := !until.IsZero() && (o.NotAfter.IsZero() || o.NotAfter.After(until))
	return longer && j.Stage == Rest && (j.Phase == nodeops.Expired || j.Phase == nodeops.Refused)
}

// job answers with a journal and the report that goes with it.
func (l Local) job(s Step, j Journal) Job {
	return Job{Step: s, Journal: j, Kept: l.Kept, Report: l.report(j)}
}

// Report is what the node says of itself as the journal stands.
func (l Local) Report() nodeops.Report { return l.report(l.Journal) }

func (l Local) report(j Journal) nodeops.Report {
	r := nodeops.Report{Generation: j.Order.Generation, Config: j.Current, Phase: j.Phase, Why: j.Why, BootID: l.BootID}
	switch {
	case l.Lost != "":
		return nodeops.Report{Generation: l.Journal.Order.Generation, Phase: nodeops.Failed, Why: l.Lost, BootID: l.BootID}
	case j.Stage == Rest:
		r.Drift = l.Drift(j.Current)
	case j.Stuck != "":
		r.Phase, r.Why = nodeops.Failed, j.Stuck
	case j.Goal == j.Current:
		r.Phase, r.Why = nodeops.Working, strings.TrimSuffix("goes back to "+name(j.Current)+": "+j.Why, ": ")
	case l.Waiting:
		r.Phase, r.Why = nodeops.Working, "waits for the reboot to "+name(j.Goal)+because(l.Denied)
	default: // the same at every stage: each word that changes is a write to the server
		r.Phase, r.Why = nodeops.Working, "goes to "+name(j.Goal)
	}
	return r
}

func name(d machine.Digest) string {
	if d == "" {
		return "the bare OS"
	}
	return "config " + d.Short()
}

// booted says that the reboot which was asked for has happened.
func (l Local) booted(j Journal) bool { return j.AskedIn != "" && j.AskedIn != l.BootID }

// Drift is how the node differs from a config that it should be at.
func (l Local) Drift(d machine.Digest) []nodeops.Drift {
	c := l.Configs[d]
	t, err := TreeOf(c, l.Facts)
	out := Drift(t, l.Disk)
	if err != nil {
		out = append(out, nodeops.Drift{Path: "config", Kind: nodeops.DriftOwner, Why: err.Error()})
	}
	out = append(out, Unbooted(c, nil, l.Booted, l.Kept.Base)...)
	slices.SortStableFunc(out, func(a, b nodeops.Drift) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// take begins an order, or says why not. While an older order is half done, going on to the
// newer one costs what leads there from any config that may be on the disk; where that cannot
// be, the older one is undone.
func take(want nodeops.Order, target machine.Config, have Local) Job {
	j := have.Journal
	next := Journal{
		Order: want, Phase: nodeops.Done, Current: j.Current, Previous: j.Previous,
		Stage: Writing, Goal: want.Config, Past: j.left(want.Config), Since: have.BootID,
	}
	if j.Stage != Rest {
		next.Since, next.Stuck = j.Since, j.Stuck
	}
	phase, why, actions := judge(want, target, have)
	switch {
	case phase != nodeops.Done && j.Stage == Rest:
		return have.job(Refuse, Journal{Order: want, Phase: phase, Why: why, Current: j.Current, Previous: j.Previous})
	case phase != nodeops.Done:
		next.Goal, next.Past, next.Phase, next.Why = j.Current, j.left(j.Current), phase, why
		return undoTo(have, next)
	case j.Stage == Rest && want.Config == j.Current && len(have.Drift(j.Current)) == 0:
		return have.job(Settle, Journal{Order: want, Phase: nodeops.Done, Current: j.Current, Previous: j.Previous})
	case j.Stage != Rest && want.Config == j.Current:
		return undoTo(have, next)
	}
	next.Actions = actions
	next.Staging = impact.Worst(actions) >= impact.Reboot
	return write(have, next, target)
}

// left are the configs besides Current that the disk may hold parts of, when the goal changes.
func (j Journal) left(goal machine.Digest) []machine.Digest {
	var out []machine.Digest
	for _, d := range append(slices.Clone(j.Past), j.Goal) {
		if j.Stage != Rest && d != j.Current && d != goal && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// write goes to the journal's goal, whatever stands on the disk.
func write(have Local, j Journal, goal machine.Config) Job {
	j.Stage = Writing
	t, err := TreeOf(goal, have.Facts)
	if err != nil {
		return undo(have, err.Error())
	}
	job := have.job(Write, j)
	job.Kept = have.Kept.with(t, have.Disk)
	for _, d := range append([]machine.Digest{j.Current, j.Goal}, j.Past...) {
		if d != "" && !slices.Contains(job.Kept.Configs, d) {
			job.Kept.Configs = append(slices.Clone(job.Kept.Configs), d)
		}
	}
	job.Put = job.Kept.wanted(t)
	job.Then = Acting
	return job
}

func act(have Local) Job {
	j := have.Journal
	job := have.job(Act, j)
	job.Stage = have.Configs[j.Goal]
	job.Then = Verifying
	if impact.Worst(j.Actions) >= impact.Reboot {
		job.Then = Booting
		return job // the boot starts every unit anew
	}
	type deed struct {
		kind impact.Kind
		unit string
	}
	done := map[deed]bool{}
	for _, a := range j.Actions { // a drain is the controller's, and over
		a.Unit = have.Facts.oneOf(a.Unit)
		d := deed{a.Kind, a.Unit}
		if (a.Kind == impact.Reload || a.Kind == impact.Restart) && !done[d] {
			job.Actions = append(job.Actions, a)
		}
		done[d] = true
	}
	if len(job.Actions) == 0 {
		return job
	}
	if j.Acted >= MaxActed {
		why := fmt.Sprintf("this agent has ended %d times while it did %s %s", j.Acted, job.Actions[0].Kind, job.Actions[0].Unit)
		if j.Goal != j.Current {
			return undo(have, why)
		}
		job.Actions = nil // all was asked for: the node must be whole, but it is told
		job.Journal.Why = strings.TrimPrefix(j.Why+"; going back: "+why, "; ")
		return job
	}
	job.Journal.Acted++
	return job
}

// reboot asks for the boot in which the goal becomes true. The journal counts first, so that a
// node whose reboot does nothing, or never ends, is not asked for ever.
func reboot(have Local) Job {
	j := have.Journal
	switch {
	case have.Waiting:
		return have.job(Wait, j)
	case j.Asked >= MaxAsked:
		return undo(have, fmt.Sprintf("a reboot was asked for %d times, and did not happen", j.Asked)+because(have.Denied))
	}
	j.AskedIn, j.Asked = have.BootID, j.Asked+1
	return have.job(Reboot, j)
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// verify moves Current, if the node is what the goal asks.
func verify(have Local) Job {
	j := have.Journal
	goal := have.Configs[j.Goal]
	t, err := TreeOf(goal, have.Facts)
	if err != nil {
		return undo(have, err.Error())
	}
	bad := Drift(have.Kept.wanted(t), have.Disk)
	booted := have.booted(j)
	if booted && !j.Relinked && onlyLinks(bad) {
		// The image that was booted may bring the unit that the config enables, or another
		// [Install] section for it.
		j.Relinked = true
		job := write(have, j, goal)
		job.Then = Verifying
		return job
	}
	if booted {
		bad = append(bad, Unbooted(goal, have.others(j), have.Booted, have.Kept.Base)...)
	}
	if len(bad) > 0 {
		why := fmt.Sprintf("%s did not hold: %s %s", name(j.Goal), bad[0].Path, bad[0].Why)
		if len(bad) > 1 {
			why += fmt.Sprintf(" (and %d more)", len(bad)-1)
		}
		return undo(have, why)
	}
	next := Journal{Order: j.Order, Phase: j.Phase, Why: j.Why, Current: j.Goal, Previous: j.Previous}
	if j.Goal != j.Current {
		next.Previous = j.Current
	}
	job := have.job(Settle, next)
	job.Kept = have.Kept.only(t)
	job.Kept.Configs = nil
	if next.Current != "" {
		job.Kept.Configs = []machine.Digest{next.Current}
	}
	return job
}

func onlyLinks(bad []nodeops.Drift) bool {
	return len(bad) > 0 && !slices.ContainsFunc(bad, func(d nodeops.Drift) bool { return d.Kind != nodeops.DriftEnablement })
}

// others are the configs that were left on the way to the goal.
func (l Local) others(j Journal) []machine.Config {
	var out []machine.Config
	for _, d := range append([]machine.Digest{j.Current}, j.Past...) {
		if d != j.Goal {
			out = append(out, l.Configs[d])
		}
	}
	return out
}

// undo gives the goal up and goes back to Current. When going back is what failed, the node is
// said to have failed, and the same is tried again at the next look.
func undo(have Local, why string) Job {
	j := have.Journal
	back := j.Goal == j.Current
	if back && j.Stage == Acting && !j.Staging && len(j.Past) > 0 {
		// The disk is as before. A unit that cannot be reloaded, perhaps because there is none,
		// must not keep the node from being whole; but it is told.
		j.Stage, j.Why = Verifying, strings.TrimPrefix(j.Why+"; going back: "+why, "; ")
		return have.job(Undo, j)
	}
	if back {
		j.Stuck = "going back to " + name(j.Current) + ": " + why
		j.Stage, j.AskedIn, j.Relinked, j.Acted = Writing, "", false, 0
		return have.job(Fail, j)
	}
	next := j
	next.Goal, next.Past = j.Current, j.left(j.Current)
	next.Phase, next.Why = nodeops.Restored, why
	return undoTo(have, next)
}

// undoTo begins the way back to Current. No ceiling stands against it, but it only reboots a
// node that has booted since Current was left: before that, the running OS is still Current's.
//
// What is undone was done by the rules of the order before, so it is they that say what undoes it:
// a newer order, which may be the revert of those very rules, has touched nothing yet.
func undoTo(have Local, j Journal) Job {
	rules := have.Journal.Order.Rules
	var mild []machine.Config // what is left without a reboot
	j.Staging = false
	for _, d := range j.Past {
		if impact.Worst(impact.Diff(have.Configs[d], have.Configs[j.Current], rules)) >= impact.Reboot {
			j.Staging = true
			continue
		}
		mild = append(mild, have.Configs[d])
	}
	j.Stage, j.Asked, j.AskedIn, j.Relinked, j.Acted = Writing, 0, "", false, 0
	j.Actions = impact.DiffAny(mild, have.Configs[j.Current], rules)
	if j.Staging && j.Since != have.BootID {
		j.Actions = append(j.Actions, impact.Action{Kind: impact.Reboot, Cause: "undo"})
	}
	return have.job(Undo, j)
}
