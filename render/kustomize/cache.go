package kustomize

import (
	"slices"
	"sync"
	"time"

	"github.com/sluice-gitops/sluice/render"
)

// Cache builds, and remembers what it built: a build is known again by what it really read, files
// that were not there included, so that a push which touches one overlay builds that overlay only.
// The zero value is ready. It may be used by many at once.
type Cache struct {
	Butane Butane // reads *.bu; nil: they are refused where a kustomization lists one, else passed over

	limit time.Duration // of one build; 0 is the default
	mu    sync.Mutex
	kept  []*kept // the one that was used last stands last
	size  int
	runs  int // how often kustomize ran
}

// kept is a build and what it saw.
type kept struct {
	build render.Build
	saw   map[string]string // path -> print
	size  int
}

// What a cache holds before it forgets what was not used for longest.
const (
	maxKept      = 256
	maxKeptBytes = 64 << 20
)

// Runs is how often kustomize was run since the start, which a build that is known does not take.
func (c *Cache) Runs() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs
}

func (c *Cache) patience() time.Duration {
	if c.limit > 0 {
		return c.limit
	}
	return 2 * time.Minute
}

// recall finds a build of a directory that would see in a tree what it saw before.
func (c *Cache) recall(t *tree, dir string) (render.Build, bool) {
	for _, k := range c.of(dir) {
		if !k.same(t) {
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if i := slices.Index(c.kept, k); i >= 0 {
			c.kept = append(slices.Delete(c.kept, i, i+1), k)
		}
		return k.build, true
	}
	return render.Build{}, false
}

// of are the builds of a directory, the newest first.
func (c *Cache) of(dir string) []*kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*kept
	for _, k := range slices.Backward(c.kept) {
		if k.build.Dir == dir {
			out = append(out, k)
		}
	}
	return out
}

func (k *kept) same(t *tree) bool {
	for at, print := range k.saw {
		if t.print(at) != print {
			return false
		}
	}
	return true
}

func (c *Cache) keep(t *tree, s *scan) {
	k := &kept{build: s.build, saw: make(map[string]string, len(s.saw))}
	for at := range s.saw {
		k.saw[at] = t.print(at)
		k.size += 2*len(at) + len(k.saw[at])
	}
	written := map[string]int{} // shared by all documents of a file
	for _, d := range s.build.Documents {
		k.size += len(d.Body) + len(d.File)
		written[d.File] = len(d.Written)
	}
	for _, n := range written {
		k.size += n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs += s.runs
	if k.size > maxKeptBytes/2 {
		return
	}
	c.kept = append(c.kept, k)
	for c.size += k.size; len(c.kept) > maxKept || c.size > maxKeptBytes; c.kept = c.kept[1:] {
		c.size -= c.kept[0].size
	}
}
