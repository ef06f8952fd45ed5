package mirror

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

// source is all that the objects say of one source, for digests or for tags.
type source struct {
	name    string
	mirrors []string // in the order in which they are asked; the source itself comes last unless it is among them
	never   bool
	object  int    // one of those that name it
	field   string // where
}

// merged joins the rules of all objects, sorted by source: those for digests and those for tags,
// since the two do not interact. All rules of a source have one policy: conflicts saw to it.
func merged(objects []Object) (digests, tags []source) {
	byPull := map[string]map[string]*source{digestOnly: {}, tagOnly: {}}
	lists := map[*source][][]string{}
	for i, o := range objects {
		for _, r := range o.rules {
			if !r.real() {
				continue
			}
			all := byPull[r.pull]
			if all[r.source] == nil {
				all[r.source] = &source{name: r.source, never: r.never, object: i, field: r.field}
			}
			s := all[r.source]
			lists[s] = append(lists[s], r.mirrors)
		}
	}
	flat := func(all map[string]*source) (out []source) {
		for _, s := range all {
			s.mirrors = inOrder(s.name, lists[s])
			out = append(out, *s)
		}
		slices.SortFunc(out, func(a, b source) int { return cmp.Compare(a.name, b.name) })
		return out
	}
	return flat(byPull[digestOnly]), flat(byPull[tagOnly])
}

// inOrder merges lists so that each keeps its order, as far as they do not contradict one
// another. Where they leave a choice, MCO main's is taken: a queue of what nothing unasked stands
// before; what one element sets free follows in byte order; a contradiction is broken at the
// first name in byte order.
func inOrder(source string, lists [][]string) []string {
	before, after := map[string]map[string]bool{}, map[string]map[string]bool{}
	edge := func(a, b string) {
		for _, name := range []string{a, b} {
			if before[name] == nil {
				before[name], after[name] = map[string]bool{}, map[string]bool{}
			}
		}
		after[a][b], before[b][a] = true, true
	}
	for _, l := range lists {
		for i := 1; i < len(l); i++ {
			edge(l[i-1], l[i])
		}
		if !slices.Contains(l, source) {
			edge(l[len(l)-1], source)
		}
	}
	names := slices.Sorted(maps.Keys(before))
	done := map[string]bool{}
	var out, queue []string
	for _, n := range names {
		if len(before[n]) == 0 {
			queue = append(queue, n)
		}
	}
	for len(out) < len(names) {
		if len(queue) == 0 {
			at := slices.IndexFunc(names, func(n string) bool { return !done[n] })
			queue = append(queue, names[at])
		}
		n := queue[0]
		queue = queue[1:]
		done[n] = true
		out = append(out, n)
		for _, next := range slices.Sorted(maps.Keys(after[n])) {
			delete(before[next], n)
			if len(before[next]) == 0 && !done[next] {
				queue = append(queue, next)
			}
		}
	}
	if out[len(out)-1] == source {
		out = out[:len(out)-1] // a runtime asks it last without being told
	}
	return out
}

// conflicts are sources that one object forbids to ask and another allows.
func conflicts(objects []Object) (wrong []Mistake) {
	type first struct {
		object int
		never  bool
	}
	seen := map[string]first{}
	for i, o := range objects {
		for _, r := range o.rules {
			if before, ok := seen[r.source]; !ok {
				seen[r.source] = first{i, r.never}
			} else if before.never != r.never {
				other := objects[before.object]
				wrong = append(wrong, Mistake{i, manifest.Error{
					Field: r.field + ".mirrorSourcePolicy",
					Why:   fmt.Sprintf("is not what %s %s says of the source %s: a source has one policy", other.Kind, other.Name, r.source),
				}})
			}
		}
	}
	return wrong
}
