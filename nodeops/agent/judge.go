package agent

import (
	"fmt"
	"path"
	"slices"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// judge says whether an order may begin: Done, or Refused or Expired with the reason; and what
// must follow once it is written.
func judge(want nodeops.Order, target machine.Config, have Local) (nodeops.Phase, string, []impact.Action) {
	j := have.Journal
	moving := j.Stage != Rest
	if moving && want.Config == j.Current {
		return nodeops.Done, "", nil // the way back is always open
	}
	begun := moving && want.Config == j.Goal
	if !begun && !want.NotAfter.IsZero() && have.Now.After(want.NotAfter) {
		return nodeops.Expired, fmt.Sprintf("generation %d was not to begin after %s, and it is %s: order it anew",
			want.Generation, want.NotAfter.Format("2006-01-02 15:04:05Z07:00"), have.Now.Format("15:04:05Z07:00")), nil
	}
	if want.Strange != "" {
		return nodeops.Refused, "the order cannot be read whole: " + want.Strange + ": update this agent", nil
	}
	if have.Unfit != "" {
		return nodeops.Refused, have.Unfit, nil
	}
	t, err := TreeOf(target, have.Facts)
	if err != nil {
		return nodeops.Refused, err.Error(), nil
	}
	if why := obstacle(t, have.Disk); why != "" {
		return nodeops.Refused, why, nil
	}
	from := []machine.Config{have.Configs[j.Current]}
	for _, d := range j.left(want.Config) {
		from = append(from, have.Configs[d])
	}
	if why := unbootable(target, from, have.Booted, have.Kept.Base); why != "" {
		return nodeops.Refused, why, nil
	}
	drift := have.Drift(j.Current)
	switch {
	case moving || len(drift) == 0:
	case want.Config == j.Current || want.Config == j.Previous || want.Config == bare:
		from = append(from, without(have.Configs[j.Current], drift)) // a return to what the node was, or to the bare OS, repairs it
	default:
		return nodeops.Refused, fmt.Sprintf("%s %s: the node has drifted; repair it, or order it back to %s or %s",
			drift[0].Path, drift[0].Why, name(j.Current), name(j.Previous)), nil
	}
	actions := impact.DiffAny(from, target, want.Rules)
	if why := exceeds(actions, want.Ceiling); why != "" {
		return nodeops.Refused, why, nil
	}
	return nodeops.Done, "", actions
}

// bare is the digest of a config that asks for nothing.
var bare = machine.Config{}.Digest()

// obstacle is what stands in the way of a tree and cannot be put back afterwards.
func obstacle(t, disk Tree) string {
	for _, p := range sortedKeys(t) {
		want, have := t[p], disk.at(p)
		whole := have.Kind == Absent || have.Kind == Regular || have.Kind == Symlink
		if want.Kind == Dir {
			whole = have.Kind == Absent || have.Kind == Dir
		}
		if !whole {
			return fmt.Sprintf("%s is %s, and sluice would not replace it: remove it", p, named(have))
		}
		for up := path.Dir(p); up != "/"; up = path.Dir(up) {
			if k := disk.at(up).Kind; k == Regular || k == Other {
				return fmt.Sprintf("%s lies below %s, which is %s", p, up, named(disk.at(up)))
			}
		}
	}
	return ""
}

// exceeds says why actions would do more than was approved.
func exceeds(actions []impact.Action, ceiling impact.Kind) string {
	worst := impact.Worst(actions)
	i := slices.IndexFunc(actions, func(a impact.Action) bool { return a.Kind == worst })
	switch {
	case worst == impact.Impossible:
		return fmt.Sprintf("%s cannot be changed on a living node: make a new node, or take the change back", actions[i].Cause)
	case worst > ceiling:
		return fmt.Sprintf("%s asks for %s, and the order allows at most %s", actions[i].Cause, worst, ceiling)
	}
	return ""
}

// without is a config less everything that has drifted: what leads from there to the config is
// what its repair costs.
func without(c machine.Config, drift []nodeops.Drift) machine.Config {
	bad := map[string]bool{}
	for _, d := range drift {
		bad[d.Path] = true
	}
	c.Files = slices.DeleteFunc(slices.Clone(c.Files), func(f machine.File) bool { return bad[f.Path] })
	c.Units = slices.DeleteFunc(slices.Clone(c.Units), func(u machine.Unit) bool {
		own := bad[u.Name] || bad[unitDir+u.Name]
		for _, d := range u.DropIns {
			own = own || bad[unitDir+u.Name+".d/"+d.Name]
		}
		return own
	})
	if bad["kernelArguments"] {
		c.KernelArgs = nil
	}
	if bad["osImageURL"] {
		c.OSImage = ""
	}
	return c
}

// recall finds out what a lost journal said: the one config, among those known here, that the
// whole disk and the running OS agree with. There is no guess: where none does, nothing is
// written and the node says so.
func recall(want nodeops.Order, have Local) Job {
	var found []machine.Digest
	for _, d := range append([]machine.Digest{""}, sortedDigests(have.Configs)...) {
		t, err := TreeOf(have.Configs[d], have.Facts)
		if err != nil || have.Blind {
			continue
		}
		bad := Drift(have.Kept.wanted(t), have.Disk)
		var gone []machine.Config
		for other, c := range have.Configs {
			if other != d {
				gone = append(gone, c)
			}
		}
		if len(bad) == 0 && len(Unbooted(have.Configs[d], gone, have.Booted, have.Kept.Base)) == 0 {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		job := have.job(Fail, Journal{})
		job.Report.Generation = max(want.Generation, job.Report.Generation) // whoever waits for this order must hear of it
		job.Report.Why += "; the disk is wholly at no config known here, so nothing is written: give the node its files back, or join it anew"
		return job
	}
	current := found[0] // those found cannot be told apart on this node
	if slices.Contains(found, want.Config) {
		current = want.Config
	}
	t, _ := TreeOf(have.Configs[current], have.Facts)
	have.Lost = ""
	next := Journal{Current: current}
	if have.Fresh && want.Generation > 0 && want.Config != current {
		next = unremembered(want, current)
	}
	job := have.job(Recall, next)
	job.Kept = have.Kept.only(t)
	job.Kept.Configs = nil
	if current != "" {
		job.Kept.Configs = []machine.Digest{current}
	}
	return job
}

// begin is the first look of a memory. An order that is there already may be an old one, whose
// drain and window are over: it is left alone, and whoever ordered it judges the node anew.
func begin(want nodeops.Order, have Local) Job {
	if want.Generation == 0 {
		return have.job(Recall, Journal{}) // the next order is news for certain
	}
	return have.job(Refuse, unremembered(want, ""))
}

// unremembered is the journal of a node at a config, with an order that may not begin because
// nobody knows whether it was taken up before.
func unremembered(want nodeops.Order, current machine.Digest) Journal {
	why := fmt.Sprintf("this agent has no memory of before generation %d: order it anew", want.Generation)
	return Journal{Order: want, Phase: nodeops.Expired, Why: why, Current: current}
}

func sortedDigests(m map[machine.Digest]machine.Config) []machine.Digest {
	var out []machine.Digest
	for d := range m {
		if d != "" {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}
