package looptest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/source"
)

func proposals(t *testing.T, f loop.Forge) []source.Proposal {
	t.Helper()
	found, err := f.Proposals(context.Background())
	if err != nil {
		t.Fatalf("Proposals: %v", err)
	}
	return found
}

func post(t *testing.T, f loop.Forge, s source.Status) {
	t.Helper()
	if err := f.Post(context.Background(), s); err != nil {
		t.Fatalf("Post(%+v): %v", s, err)
	}
}

func comment(t *testing.T, f loop.Forge, number int, body string) {
	t.Helper()
	if err := f.Comment(context.Background(), source.Comment{Proposal: number, Body: body}); err != nil {
		t.Fatalf("Comment(%d, %q): %v", number, body, err)
	}
}

func equal(got []source.Proposal, want ...source.Proposal) bool { return slices.Equal(got, want) }

// only checks that a pull request has one comment, and that it says body.
func only(t *testing.T, rig ForgeRig, number int, body string) {
	t.Helper()
	if got := rig.Comments(number); len(got) != 1 || !strings.Contains(got[0], body) {
		t.Errorf("got %q, want one comment that says %q", got, body)
	}
}
