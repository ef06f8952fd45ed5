package looptest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
	"github.com/sluice-gitops/sluice/source/git"
	"github.com/sluice-gitops/sluice/source/git/gittest"
)

func TestFakeSource(t *testing.T) {
	looptest.Source(t, func(*testing.T) looptest.SourceRig {
		f := &looptest.FakeSource{}
		return looptest.SourceRig{
			Source: f, Restart: func() loop.Source { return f },
			Push: f.Push, Force: f.Force, Pull: f.Pull, Close: f.Close,
			Broken: func(away bool) {
				f.Fail(nil)
				if away {
					f.Fail(errors.New("out of order"))
				}
			},
		}
	})
}

// The real one, over HTTP.
func TestGitSource(t *testing.T) {
	server := gittest.New(t)
	n := 0
	looptest.Source(t, func(t *testing.T) looptest.SourceRig {
		n++
		server.Fault(nil)
		repo := server.Repo(fmt.Sprintf("fleet%d.git", n))
		dir := t.TempDir()
		start := func() loop.Source { return &git.Source{URL: repo.URL, Branch: "main", Dir: dir} }
		return looptest.SourceRig{
			Source: start(), Restart: start,
			Push:  func(files map[string]string) string { return repo.Commit("main", files) },
			Force: func(onto string, files map[string]string) string { return repo.Set("refs/heads/main", onto, files) },
			Pull: func(number int, onto string, files map[string]string) string {
				return repo.Pull(number, onto, files)
			},
			Close: func(number int) { repo.Git("update-ref", "-d", fmt.Sprintf("refs/pull/%d/head", number)) },
			Broken: func(away bool) {
				server.Fault(nil)
				if away {
					server.Down()
				}
			},
		}
	})
}
