package preview

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
)

// join is what the pools will be after the merge, when the branch has moved since the proposal
// left it: what the proposal changes, on top of what the branch has now. Where both have changed
// one thing, that of the proposal is taken, and named.
func join(fork, ours, theirs []render.Pool) (merged []render.Pool, clashes []string) {
	for _, p := range ours {
		old, now := find(fork, p.Name), find(theirs, p.Name)
		switch {
		case !has(theirs, p.Name) && has(fork, p.Name) && p.Target() == old.Target():
			continue // the branch has removed it
		case !has(theirs, p.Name), old.Target() == now.Target():
		case p.Target() == old.Target():
			p.Config, p.Origins = now.Config, now.Origins
		default:
			var both []string
			p.Config, both = joinConfigs(old.Config, p.Config, now.Config)
			for _, name := range both {
				clashes = append(clashes, fmt.Sprintf("pool %s: %s was changed on the branch, too: merge the branch into the proposal to see what becomes of it", p.Name, name))
			}
		}
		if has(theirs, p.Name) && has(fork, p.Name) {
			p.Strategy, p.Policy = pick(old.Strategy, p.Strategy, now.Strategy), pick(old.Policy, p.Policy, now.Policy)
			p.Rules, p.Selector = pick(old.Rules, p.Rules, now.Rules), pick(old.Selector, p.Selector, now.Selector)
		}
		p.Digest = p.Config.Digest()
		merged = append(merged, p)
	}
	for _, p := range theirs {
		if !has(ours, p.Name) && !has(fork, p.Name) {
			merged = append(merged, p)
		}
	}
	slices.SortFunc(merged, func(a, b render.Pool) int { return cmp.Compare(a.Name, b.Name) })
	return merged, clashes
}

// pick is the proposal's where it changes a thing, else what the branch has.
func pick[T any](fork, ours, theirs T) T {
	if reflect.DeepEqual(fork, ours) {
		return theirs
	}
	return ours
}

// joinConfigs merges thing by thing: files by path, units, users and sections by name, fields as
// a whole. It names what both have changed, each in another way.
func joinConfigs(fork, ours, theirs machine.Config) (machine.Config, []string) {
	var both []string
	out := machine.Config{
		KernelArgs: joinField(&both, "kernelArguments", fork.KernelArgs, ours.KernelArgs, theirs.KernelArgs),
		OSImage:    joinField(&both, "osImageURL", fork.OSImage, ours.OSImage, theirs.OSImage),
		Extensions: joinField(&both, "extensions", fork.Extensions, ours.Extensions, theirs.Extensions),
		KernelType: joinField(&both, "kernelType", fork.KernelType, ours.KernelType, theirs.KernelType),
		FIPS:       joinField(&both, "fips", fork.FIPS, ours.FIPS, theirs.FIPS),

		ExtensionsImage: joinField(&both, "baseOSExtensionsContainerImage", fork.ExtensionsImage, ours.ExtensionsImage, theirs.ExtensionsImage),

		Files:     joinList(&both, func(f machine.File) string { return f.Path }, fork.Files, ours.Files, theirs.Files),
		Units:     joinList(&both, func(u machine.Unit) string { return u.Name }, fork.Units, ours.Units, theirs.Units),
		Users:     joinList(&both, func(u machine.User) string { return u.Name }, fork.Users, ours.Users, theirs.Users),
		FirstBoot: joinList(&both, func(s machine.Section) string { return s.Name }, fork.FirstBoot, ours.FirstBoot, theirs.FirstBoot),
	}
	return out, both
}

func joinField[T any](both *[]string, name string, fork, ours, theirs T) T {
	if !reflect.DeepEqual(fork, ours) && !reflect.DeepEqual(fork, theirs) && !reflect.DeepEqual(ours, theirs) {
		*both = append(*both, name)
	}
	return pick(fork, ours, theirs)
}

func joinList[T any](both *[]string, name func(T) string, fork, ours, theirs []T) (out []T) {
	was, is, now := named(name, fork), named(name, ours), named(name, theirs)
	all := maps.Clone(is)
	maps.Copy(all, now)
	for _, n := range sortedKeys(all) {
		if t := joinField(both, n, was[n], is[n], now[n]); t != nil {
			out = append(out, *t)
		}
	}
	return out
}

func named[T any](name func(T) string, list []T) map[string]*T {
	out := make(map[string]*T, len(list))
	for i := range list {
		out[name(list[i])] = &list[i]
	}
	return out
}

// renames are the pools that take the place of another: new names for the very nodes, or, where
// no nodes are known, the very selector of a pool that goes. New name -> old.
func renames(in Input, merged []render.Pool) map[string]string {
	out := map[string]string{}
	for _, old := range in.Standing {
		if has(merged, old.Name) {
			continue
		}
		before := crew(in, in.Standing, old.Name)
		for _, p := range merged {
			if has(in.Standing, p.Name) || out[p.Name] != "" {
				continue
			}
			same := slices.Equal(before, crew(in, merged, p.Name))
			if len(before) == 0 {
				same = same && old.Target() == p.Target()
			}
			if same {
				out[p.Name] = old.Name
				break
			}
		}
	}
	return out
}

// crew are the nodes of a pool, by name.
func crew(in Input, pools []render.Pool, name string) (out []string) {
	for _, n := range in.Nodes {
		if pool, err := render.Member(pools, n.Labels); err == nil && pool == name {
			out = append(out, n.Name)
		}
	}
	return out
}

// farewells says what becomes of pools that go.
func (w *world) farewells(in Input, merged []render.Pool, names map[string]string) (out []policy.Finding) {
	note := func(text string, args ...any) {
		out = append(out, policy.Finding{Check: "pool", Outcome: policy.Warn, Reason: fmt.Sprintf(text, args...)})
	}
	renamed := map[string]string{}
	for now, was := range names {
		renamed[was] = now
	}
	for _, old := range in.Standing {
		if has(merged, old.Name) {
			continue
		}
		if now := renamed[old.Name]; now != "" {
			note("pool %s is called %s now: the same nodes, under the rules that are in force; what it remembers of earlier commits is forgotten", old.Name, now)
			continue
		}
		moved, left := map[string]int{}, 0
		for _, n := range crew(in, in.Standing, old.Name) {
			if to := w.member[n]; to != "" {
				moved[to]++
			} else {
				left++
			}
		}
		text := "pool " + old.Name + " goes"
		for _, to := range sortedKeys(moved) {
			text += fmt.Sprintf("; %s to pool %s", plural(moved[to], "node moves", "nodes move"), to)
		}
		switch {
		case left > 0 && len(moved) > 0:
			text += fmt.Sprintf("; %s as it is, without a pool", plural(left, "node stays", "nodes stay"))
		case len(moved) == 0:
			text += ": its nodes stay as they are, without a pool"
		}
		note("%s", text)
	}
	return out
}
