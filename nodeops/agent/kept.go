package agent

import (
	"maps"
	"path"
	"slices"

	"github.com/sluice-gitops/sluice/machine"
)

// Kept is what a node was before Sluice came, as far as Sluice has touched it: enough to give the
// OS back. It is stored before the first path is written.
type Kept struct {
	Originals Tree             `json:"originals,omitempty"`
	Base      Booted           `json:"base"`              // what the machine ran before the first order
	Configs   []machine.Digest `json:"configs,omitempty"` // which are stored beside it
	New       []string         `json:"new,omitempty"`     // originals whose paths nobody has touched unless the journal left Rest
}

// AtRest is what is truly kept when the journal says Rest: a crash between storing this and
// storing the journal leaves originals that were never in use, and may be out of date by now.
func (k Kept) AtRest() Kept {
	k.Originals = maps.Clone(k.Originals)
	for _, p := range k.New {
		delete(k.Originals, p)
	}
	k.New = nil
	return k
}

// with adds the originals of a tree's paths that are not kept yet, and the directories that must
// be made for them, which go again when they are empty.
func (k Kept) with(t, disk Tree) Kept {
	k.Originals = maps.Clone(k.Originals)
	if k.Originals == nil {
		k.Originals = Tree{}
	}
	add := func(p string, e Entry) {
		if _, had := k.Originals[p]; !had {
			k.Originals[p] = e
			k.New = append(slices.Clone(k.New), p)
		}
	}
	for _, p := range sortedKeys(t) {
		before := disk.at(p)
		if before.Kind == Absent && t[p].Kind == Dir {
			before.Kind = Vacant
		}
		add(p, before)
		for up := path.Dir(p); t[p].Kind != Absent && up != "/"; up = path.Dir(up) {
			if disk.at(up).Kind == Absent {
				add(up, Entry{Kind: Vacant})
			}
		}
	}
	return k
}

// only forgets the originals that a tree has no use for: they stand on the disk again.
func (k Kept) only(t Tree) Kept {
	keep := Tree{}
	for p, e := range t {
		if o, ok := k.Originals[p]; ok {
			keep[p] = o
		}
		for up := path.Dir(p); e.Kind != Absent && up != "/"; up = path.Dir(up) {
			if o := k.Originals[up]; o.Kind == Vacant {
				keep[up] = o
			}
		}
	}
	k.Originals, k.New = keep, nil
	return k
}

// wanted is the whole of what must stand on the disk at a tree: the tree itself, and at every
// other path that was ever touched what stood there before. A directory that was made stays
// while the tree needs it.
func (k Kept) wanted(t Tree) Tree {
	out := Tree{}
	maps.Copy(out, k.Originals)
	for p, e := range t {
		if e.Kind == Absent {
			continue
		}
		for up := path.Dir(p); up != "/"; up = path.Dir(up) {
			if out[up].Kind == Vacant {
				delete(out, up)
			}
		}
	}
	maps.Copy(out, t)
	return out
}
