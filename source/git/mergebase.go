package git

import (
	"container/heap"
	"context"
	"fmt"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Who can reach a commit, and whether a merge base reaches it already.
const (
	fromA = 1 << iota
	fromB
	stale
)

// mergeBase colours both histories from their heads, newest first, and reads no further back
// than where the colours have met. A cut history (a shallow clone) that shows no base is an
// error, because the base may be beyond the cut.
func (r *Repo) mergeBase(ctx context.Context, a, b string) (string, error) {
	ha, err := parseHash(a)
	if err != nil {
		return "", err
	}
	hb, err := parseHash(b)
	if err != nil {
		return "", err
	}
	w := &walk{repo: r, colour: make(map[plumbing.Hash]int), cut: make(map[plumbing.Hash]bool)}
	base, err := w.run(ctx, ha, hb)
	if err != nil {
		return "", fmt.Errorf("find merge base of %q and %q: %w", a, b, err)
	}
	return base, nil
}

type walk struct {
	repo   *Repo
	queue  byTime
	colour map[plumbing.Hash]int
	cut    map[plumbing.Hash]bool // commits whose parents a shallow clone lacks
	hitCut bool
}

func (w *walk) run(ctx context.Context, a, b plumbing.Hash) (string, error) {
	err := w.repo.read(func(g *gogit.Repository) error {
		list, err := g.Storer.Shallow()
		for _, h := range list {
			w.cut[h] = true
		}
		return err
	})
	if err == nil {
		err = w.reach(a, fromA)
	}
	if err == nil {
		err = w.reach(b, fromB)
	}
	var met []*object.Commit
	for err == nil && w.fresh() {
		if err = ctx.Err(); err != nil {
			break
		}
		c := heap.Pop(&w.queue).(*object.Commit)
		colour := w.colour[c.Hash]
		if colour == fromA|fromB {
			met = append(met, c)
		}
		if colour&(fromA|fromB) == fromA|fromB {
			colour |= stale
		}
		err = w.parents(c, colour)
	}
	if err != nil {
		return "", err
	}
	for _, c := range met { // newest first
		if w.colour[c.Hash]&stale == 0 {
			return c.Hash.String(), nil
		}
	}
	if w.hitCut {
		return "", fmt.Errorf("the history at %q is cut off (a shallow clone); run git fetch --unshallow there", w.repo.path)
	}
	return "", nil
}

func (w *walk) parents(c *object.Commit, colour int) error {
	if w.cut[c.Hash] {
		w.hitCut = true
		return nil
	}
	for _, p := range c.ParentHashes {
		if err := w.reach(p, colour); err != nil {
			return err
		}
	}
	return nil
}

// reach queues a commit whenever its colour grows, so that what lies behind it learns of it.
func (w *walk) reach(h plumbing.Hash, colour int) error {
	if w.colour[h]&colour == colour {
		return nil
	}
	w.colour[h] |= colour
	c, err := w.repo.commit(h)
	if err != nil {
		return err
	}
	heap.Push(&w.queue, c)
	return nil
}

// fresh says that a commit is queued that no merge base reaches.
func (w *walk) fresh() bool {
	for _, c := range w.queue {
		if w.colour[c.Hash]&stale == 0 {
			return true
		}
	}
	return false
}

// byTime is a heap, newest first; equal times are ordered by hash, so that every run agrees.
type byTime []*object.Commit

func (q byTime) Len() int      { return len(q) }
func (q byTime) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q byTime) Less(i, j int) bool {
	ti, tj := q[i].Committer.When, q[j].Committer.When
	if ti.Equal(tj) {
		return q[i].Hash.String() < q[j].Hash.String()
	}
	return ti.After(tj)
}
func (q *byTime) Push(x any) { *q = append(*q, x.(*object.Commit)) }
func (q *byTime) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	*q = (*q)[:last]
	return c
}
