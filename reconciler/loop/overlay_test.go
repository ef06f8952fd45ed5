package loop_test

import (
	"io/fs"
	"maps"
	"testing"

	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/render/kustomize"
	"github.com/sluice-gitops/sluice/source"
)

// TestAPushBuildsTheOverlaysThatItTouches holds through the whole loop, a pull request included,
// what the cache of builds is for.
func TestAPushBuildsTheOverlaysThatItTouches(t *testing.T) {
	const kind = "apiVersion: machineconfiguration.openshift.io/v1\nkind: "
	args := func(name, word string) string {
		return kind + "MachineConfig\nmetadata: {name: " + name + "}\nspec: {kernelArguments: [" + word + "]}\n"
	}
	files := map[string]string{
		"base/kustomization.yaml": "resources: [args.yaml]", "base/args.yaml": args("10-base", "a"),
		"pools/worker/kustomization.yaml": "resources: [../../base, pool.yaml, args.yaml]", "pools/worker/args.yaml": args("20-own", "a"),
		"pools/worker/pool.yaml":         kind + "MachineConfigPool\nmetadata: {name: worker}\n",
		"pools/infra/kustomization.yaml": "resources: [../../base, pool.yaml]",
		"pools/infra/pool.yaml":          kind + "MachineConfigPool\nmetadata: {name: infra}\n",
	}
	with := func(name, body string) map[string]string {
		files = maps.Clone(files)
		files[name] = body
		return files
	}
	w := newWorld(t)
	cache := &kustomize.Cache{}
	w.loop.Build = func(tree fs.FS) ([]render.Build, error) { return cache.Build(tree, nil) }
	commit := w.source.Push(files)
	w.settle()
	for _, c := range []struct {
		name string
		push func() string
		runs int
	}{
		{"a file of one overlay", func() string { return w.source.Push(with("pools/worker/args.yaml", args("20-own", "b"))) }, 1},
		{"a file that no overlay reads", func() string { return w.source.Push(with("README.md", "hello")) }, 0},
		{"the base of both", func() string { return w.source.Push(with("base/args.yaml", args("10-base", "b"))) }, 2},
		{"a pull request to one overlay, and then its merge", func() string {
			head := w.source.Pull(7, commit, with("pools/infra/pool.yaml", kind+"MachineConfigPool\nmetadata: {name: infra}\nspec: {paused: true}\n"))
			w.forge.Open(source.Proposal{Number: 7, Head: head})
			w.settle()
			w.source.Merge(head)
			return head
		}, 1},
	} {
		before := cache.Runs()
		commit = c.push()
		w.settle()
		if runs := cache.Runs() - before; runs != c.runs {
			t.Errorf("%s: kustomize ran %d times, want %d", c.name, runs, c.runs)
		}
		if p := w.state().Pools["worker"]; p.Phase != reconciler.Updated || p.Revision.Commit != commit {
			t.Errorf("%s: the pool is %s at %s, want Updated at %s", c.name, p.Phase, p.Revision.Short(), source.Short(commit))
		}
	}
}
