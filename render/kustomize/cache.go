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
	kept  []kept // the one that was used last stands last
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
		if i := slices.IndexFunc(c.kept, func(o kept) bool { return sameMap(o.saw, k.saw) }); i >= 0 {
			c.kept = append(slices.Delete(c.kept, i, i+1), k)
		}
		return k.build, true
	}
	return render.Build{}, false
}

// of are the builds of a directory, the newest first.
func (c *Cache) of(dir string) []kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []kept
	for _, k := range slices.Backward(c.kept) {
		if k.build.Dir == dir {
			out = append(out, k)
		}
	}
	return out
}
