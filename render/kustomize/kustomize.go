// Package kustomize reads the builds of a fleet repository: overlays through kustomize, in memory
// and without any network, or plain YAML files. It alone imports kustomize.
package kustomize

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/render"
)

// Build is what a Cache that remembers nothing builds. It reads no Butane.
func Build(from fs.FS, paths []string) ([]render.Build, error) {
	return new(Cache).Build(from, paths)
}

// Build reads what a tree yields: its root if that has a kustomization file, else one build for
// every pools/* that has one, else all YAML, JSON and Butane files of the tree as one build
// (hidden directories and kustomization files left out). Given paths, directories of the tree,
// are read instead, each as one build.
//
// The mistakes of the authors stand in the Errors of the builds, so that one bad build hides
// nothing of the others: render.Pools says them all. An error means that the tree could not be
// read. Nothing outside the tree is ever opened, and no program is started.
//
// A build that would read what it read before, to the byte, is not built again. It is shared:
// leave its documents as they are.
func (c *Cache) Build(from fs.FS, paths []string) ([]render.Build, error) {
	t := newTree(from, c.Butane)
	dirs, wrong := t.builds(paths)
	var out []render.Build
	if len(wrong) > 0 {
		out = append(out, render.Build{Dir: ".", Errors: wrong})
	}
	for _, dir := range dirs {
		b, known := c.recall(t, dir)
		if !known && t.broken == nil {
			s := newScan(t, dir)
			if err := s.run(c.patience()); err != nil {
				return nil, err
			}
			s.build.Errors = render.Sorted(s.build.Errors)
			b = s.build
			if t.broken == nil && !s.fleeting {
				c.keep(t, s)
			}
		}
		if t.broken != nil {
			return nil, t.broken
		}
		out = append(out, b)
		if t.held > maxBuild {
			t.forget()
		}
	}
	if t.broken != nil {
		return nil, t.broken
	}
	if len(paths) == 0 && len(out) > 0 {
		out[0].Notices = slices.Concat(out[0].Notices, t.passedOver(dirs))
	}
	return out, nil
}

// passedOver names the directories below pools that are no builds, beside those that are.
func (t *tree) passedOver(dirs []string) (notices []string) {
	if len(dirs) == 0 || path.Dir(dirs[0]) != "pools" {
		return nil
	}
	entries, _ := t.list("pools")
	for _, e := range entries {
		if dir := path.Join("pools", e.Name()); e.IsDir() && !slices.Contains(dirs, dir) {
			notices = append(notices, dir+": has no kustomization.yaml, and is passed over")
		}
	}
	return notices
}

// builds are the directories to build, and what is wrong with the paths that were given.
func (t *tree) builds(paths []string) ([]string, render.Errors) {
	if len(paths) > 0 {
		return t.given(paths)
	}
	pools := t.place("pools")
	switch {
	case t.kustomizationIn(".") != "":
		return []string{"."}, nil
	case pools.kind == refused:
		return nil, render.Errors{{File: "pools", Why: pools.why}}
	case pools.kind != folder:
		return []string{"."}, nil
	}
	entries, why := t.list("pools")
	if why != "" {
		return nil, render.Errors{{File: "pools", Why: why}}
	}
	var dirs []string
	for _, e := range entries {
		if dir := path.Join("pools", e.Name()); e.IsDir() && t.kustomizationIn(dir) != "" {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		return []string{"."}, nil
	}
	return dirs, nil
}

func (t *tree) given(paths []string) (dirs []string, wrong render.Errors) {
	for _, p := range paths {
		fail := func(why string) { wrong = append(wrong, render.Error{File: p, Field: "paths", Why: why}) }
		dir := path.Clean(strings.TrimSuffix(p, "/"))
		switch at := t.place(dir); {
		case at.why != "":
			fail(at.why)
		case at.kind != folder:
			fail("is no directory of the repository")
		case slices.Contains(dirs, dir):
			fail("is given twice")
		default:
			dirs = append(dirs, dir)
		}
	}
	return dirs, wrong
}

// What one build may cost before it is refused.
const (
	maxFile      = 4 << 20  // bytes; a MachineConfig in a cluster cannot have more than 1.5 MB
	maxBuild     = 64 << 20 // bytes of the files that it reads, each as often as kustomize would read it
	maxLoads     = 20000    // files and directories, counted alike
	maxDocuments = 10000    // kustomize compares each with all others
	maxCopies    = 12       // copy operations of JSON patches; each can double what is there
)

// cost is what kustomize reads for a directory and all below it.
type cost struct {
	loads, documents, copies int
	bytes                    int64
}

func (c *cost) add(other cost) {
	c.loads += other.loads
	c.documents += other.documents
	c.copies += other.copies
	c.bytes += other.bytes
}

// over says why a cost is too high, or "".
func (c cost) over() string {
	switch {
	case c.loads > maxLoads:
		return fmt.Sprintf("includes more than %d files and directories, each as often as it is included", maxLoads)
	case c.bytes > maxBuild:
		return fmt.Sprintf("includes more than %d MiB, each file as often as it is included", maxBuild>>20)
	case c.documents > maxDocuments:
		return fmt.Sprintf("includes more than %d documents, each as often as it is included", maxDocuments)
	case c.copies > maxCopies:
		return fmt.Sprintf("holds more than %d copy operations: write add with the value instead", maxCopies)
	}
	return ""
}
