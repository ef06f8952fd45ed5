package looptest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
	"github.com/sluice-gitops/sluice/source"
)

// The fakes of two fleets stand for one repository: what strangers say is kept beside them.
func TestFakeForge(t *testing.T) {
	looptest.Forge(t, func(t *testing.T) looptest.ForgeRig {
		ours, theirs := &looptest.FakeForge{}, &looptest.FakeForge{}
		opened, strangers := 0, map[int][]string{}
		return looptest.ForgeRig{
			Forge: ours, Other: theirs, Restart: func() loop.Forge { return ours },
			Commit: strings.Repeat("c", 40),
			Open: func(title string) source.Proposal {
				opened++
				p := source.Proposal{Number: opened, Title: title, Head: strings.Repeat("d", 40)}
				ours.Open(p)
				return p
			},
			Close: ours.Close,
			Said: func(commit, pool string) (source.State, string) {
				s, _ := ours.Said(commit, pool)
				return s.State, s.Summary
			},
			Comments: func(number int) []string {
				all := slices.Clone(strangers[number])
				for _, f := range []*looptest.FakeForge{ours, theirs} {
					if body, ok := f.CommentOn(number); ok {
						all = append(all, body)
					}
				}
				return all
			},
			Stranger: func(number int, body string) { strangers[number] = append(strangers[number], body) },
			Wipe:     ours.Wipe,
			Writes:   func() int { return ours.Writes() + theirs.Writes() },
			Fail: func(broken bool) {
				ours.Fail(nil)
				if broken {
					ours.Fail(errors.New("out of order"))
				}
			},
		}
	})
}
