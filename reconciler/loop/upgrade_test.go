package loop_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// stricter is the build of another release: it refuses what this one has taken, but for commits that
// hold a file of this name.
func stricter(mended string) func(fs.FS) ([]render.Build, error) {
	return func(tree fs.FS) ([]render.Build, error) {
		if _, err := fs.Stat(tree, mended); err != nil {
			return nil, render.Errors{{File: "policy.yaml", Field: "spec.soak", Why: "is longer than a month"}}
		}
		return build(tree)
	}
}

// A release may refuse what an older one took. That is a mistake of the next commit, not of the one
// that the fleet runs: an upgrade lets no node go.
func TestRevisionInForceIsKeptByAReleaseThatRefusesIt(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"as the newest":                 func(*world) {},
		"behind one that is refused":    func(w *world) { w.source.Push(broken) },
		"behind a branch rewritten":     func(w *world) { w.source.Force("", reboots("other")) },
		"with a rollout that is on":     func(w *world) { w.source.Push(reboots("two")); w.run(2) },
		"and its nodes not yet at rest": func(w *world) { w.enlist("w4") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.source.Push(reboots("one"))
			w.settle()
			prepare(w)
			w.run(1)
			was := w.state()

			w.restart()
			w.loop.Build = stricter("mended.yaml")
			w.settle()
			is := w.state()
			if diff := cmp.Diff(was.Outlines, is.Outlines); diff != "" {
				t.Errorf("what is in force is not as it was (-before +after):\n%s", diff)
			}
			for pool, p := range was.Pools {
				if got := is.Pools[pool]; got.Target != p.Target || got.Generation != p.Generation {
					t.Errorf("pool %s is at %s in attempt %d, want %s in %d", pool, got.Target.Short(), got.Generation, p.Target.Short(), p.Generation)
				}
			}
			w.holdAt(was.Good.Commit)
			w.holdSaid(was.Good.Commit, "worker", source.Success, "nodes updated")
			w.forge.asked()
			if w.run(5); w.forge.calls["post"] > 0 {
				t.Errorf("the forge is told %d statuses of a fleet at rest", w.forge.calls["post"])
			}

			// The next commit has the same mistake, and is told; the one after it mends it.
			next := w.source.Push(reboots("three"))
			w.settle()
			if name == "behind a branch rewritten" {
				return // held, until somebody allows it
			}
			w.holdSaid(next, "worker", source.Failure, "spec.soak: is longer than a month")
			files := reboots("three")
			files["mended.yaml"] = ""
			mended := w.source.Push(files)
			w.settle()
			w.holdAt(mended)
		})
	}
}

// Who opens the pull request that mends it is told what it costs from what the fleet runs, not from
// nothing.
func TestPreviewOfWhatMendsARevisionThatAReleaseRefuses(t *testing.T) {
	w := newWorld(t)
	base := w.source.Push(reboots("one"))
	w.settle()
	w.restart()
	w.loop.Build = stricter("mended.yaml")
	files := reboots("one")
	files["mended.yaml"] = ""
	w.forge.Open(source.Proposal{Number: 3, Title: "mend", Head: w.source.Pull(3, base, files)})
	w.settle()
	if body := w.comment(3); !strings.Contains(body, "No node changes.") {
		t.Errorf("nothing but the mistake changes, and the preview says\n%s", body)
	}
}

// What a pull request changes is what differs from where it left the branch: where that does not render any
// more nothing is foretold, rather than something wrong.
func TestNoPreviewOfWhatLeftTheBranchAtACommitThatAReleaseRefuses(t *testing.T) {
	w := newWorld(t)
	old := w.source.Push(reboots("one"))
	w.settle()
	w.source.Push(reloads("one", "x"))
	w.settle()
	w.restart()
	w.loop.Build = stricter("mended.yaml")
	files := reboots("one")
	files["mended.yaml"] = ""
	head := w.source.Pull(3, old, files)
	w.forge.Open(source.Proposal{Number: 3, Title: "mend", Head: head})
	w.settle()
	w.holdSaid(head, "", source.Failure, "which does not render: merge the branch into it")
	if body := w.comment(3); !strings.Contains(body, "no preview: it begins at "+source.Short(old)) || strings.Contains(body, "worker") {
		t.Errorf("its comment is\n%s", body)
	}
}
