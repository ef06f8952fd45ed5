package looptest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/source"
)

// SourceRig is a repository with one branch that is followed, and hands to do what authors do to
// it. A commit has the files that it is given, at the least. All functions fail the test by
// themselves.
type SourceRig struct {
	Source loop.Source
	// Restart returns Source as a new process has it.
	Restart func() loop.Source

	Push   func(files map[string]string) (commit string)                        // a commit on top of the branch
	Force  func(onto string, files map[string]string) (commit string)           // the branch becomes a commit on top of another; "" is none
	Pull   func(number int, onto string, files map[string]string) (head string) // a pull request's head becomes a commit on top of another
	Close  func(number int)
	Broken func(away bool) // the remote does not answer, until told otherwise
}

// Source runs the suite. open makes a new, empty repository for each test.
func Source(t *testing.T, open func(t *testing.T) SourceRig) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, SourceRig)
	}{
		{"a push is seen, and read as a file system", pushSeen},
		{"pull requests appear, move and go", pullsFollow},
		{"a remote that is away leaves the last sighting", awayKeepsLast},
		{"a remote that never answered shows nothing", neverSeen},
		{"a pull request has a merge base", mergeBase},
		{"commits between two looks are listed, the oldest first", between},
		{"a force-push has nothing between", betweenForced},
		{"at most fifty commits are listed", betweenMany},
		{"a commit that nobody showed is an error", unknownCommit},
		{"a cancelled look is an error", lookCancelled},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func look(t *testing.T, s loop.Source) source.Sighting {
	t.Helper()
	seen, err := s.Look(context.Background())
	if err != nil {
		t.Fatalf("Look: %v", err)
	}
	return seen
}

// holds says whether a commit has this text in a file.
func holds(t *testing.T, s loop.Source, commit, file, text string) {
	t.Helper()
	tree, err := s.Tree(context.Background(), commit)
	if err != nil {
		t.Errorf("Tree(%s): %v", source.Short(commit), err)
		return
	}
	got, err := fs.ReadFile(tree, file)
	if err != nil || string(got) != text {
		t.Errorf("%s of %s: %q, %v; want %q", file, source.Short(commit), got, err, text)
	}
}

func pushSeen(t *testing.T, rig SourceRig) {
	first := rig.Push(map[string]string{"a.yaml": "one"})
	if got := look(t, rig.Source).Head.Commit; got != first {
		t.Fatalf("Head is %q, want %q", got, first)
	}
	second := rig.Push(map[string]string{"a.yaml": "two", "pools/x/b.yaml": "deep"})
	if got := look(t, rig.Source).Head.Commit; got != second {
		t.Fatalf("Head is %q, want %q", got, second)
	}
	holds(t, rig.Source, first, "a.yaml", "one")
	tree, err := rig.Source.Tree(context.Background(), second)
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, "a.yaml", "pools/x/b.yaml"); err != nil {
		t.Errorf("the tree is no whole file system: %v", err)
	}
}

func pullsFollow(t *testing.T, rig SourceRig) {
	base := rig.Push(map[string]string{"a.yaml": "one"})
	seven := rig.Pull(7, base, map[string]string{"a.yaml": "seven"})
	nine := rig.Pull(9, base, map[string]string{"a.yaml": "nine"})
	if got, want := look(t, rig.Source).Proposals, map[int]string{7: seven, 9: nine}; !maps.Equal(got, want) {
		t.Fatalf("opened: %v, want %v", got, want)
	}
	holds(t, rig.Source, nine, "a.yaml", "nine")
	seven = rig.Pull(7, seven, map[string]string{"a.yaml": "seven, again"})
	rig.Close(9)
	if got, want := look(t, rig.Source).Proposals, map[int]string{7: seven}; !maps.Equal(got, want) {
		t.Errorf("one moved, one closed: %v, want %v", got, want)
	}
	holds(t, rig.Source, seven, "a.yaml", "seven, again")
}

func awayKeepsLast(t *testing.T, rig SourceRig) {
	commit := rig.Push(map[string]string{"a.yaml": "one"})
	pull := rig.Pull(7, commit, map[string]string{"a.yaml": "seven"})
	look(t, rig.Source)
	rig.Broken(true)
	for what, s := range map[string]loop.Source{"the same process": rig.Source, "a new process": rig.Restart()} {
		seen, err := s.Look(context.Background())
		if err == nil {
			t.Errorf("%s: Look says nothing of a remote that is away", what)
		}
		if seen.Head.Commit != commit || seen.Proposals[7] != pull {
			t.Errorf("%s: sees %+v, want the last sighting", what, seen)
		}
		holds(t, s, commit, "a.yaml", "one")
	}
	rig.Broken(false)
	commit = rig.Push(map[string]string{"a.yaml": "two"})
	if got := look(t, rig.Source).Head.Commit; got != commit {
		t.Errorf("the remote is back: Head is %q, want %q", got, commit)
	}
}

func neverSeen(t *testing.T, rig SourceRig) {
	rig.Push(map[string]string{"a.yaml": "one"})
	rig.Broken(true)
	seen, err := rig.Source.Look(context.Background())
	if err == nil || seen.Head.Commit != "" || len(seen.Proposals) != 0 {
		t.Errorf("%+v, %v; want nothing and an error", seen, err)
	}
}

func mergeBase(t *testing.T, rig SourceRig) {
	first := rig.Push(map[string]string{"a.yaml": "one"})
	pull := rig.Pull(7, first, map[string]string{"a.yaml": "seven"})
	alone := rig.Pull(8, "", map[string]string{"a.yaml": "eight"})
	second := rig.Push(map[string]string{"a.yaml": "two"})
	look(t, rig.Source)
	for _, c := range []struct{ followed, head, want string }{
		{second, pull, first}, {first, pull, first}, {second, second, second}, {second, first, first}, {second, alone, ""},
	} {
		got, err := rig.Source.MergeBase(context.Background(), c.followed, c.head)
		if err != nil || got != c.want {
			t.Errorf("MergeBase(%s, %s) is %q, %v; want %q", source.Short(c.followed), source.Short(c.head), got, err, c.want)
		}
	}
}

func list(t *testing.T, s loop.Source, older, newer string, want []string) {
	t.Helper()
	got, err := s.Between(context.Background(), older, newer)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Between lists %v, %v; want %v", got, err, want)
	}
}

func between(t *testing.T, rig SourceRig) {
	var all []string
	for i := range 4 {
		all = append(all, rig.Push(map[string]string{"a.yaml": fmt.Sprint(i)}))
	}
	look(t, rig.Source)
	list(t, rig.Source, all[0], all[3], all[1:3])
	list(t, rig.Source, all[2], all[3], nil)
	list(t, rig.Source, all[3], all[3], nil)
}

func betweenForced(t *testing.T, rig SourceRig) {
	first := rig.Push(map[string]string{"a.yaml": "one"})
	second := rig.Push(map[string]string{"a.yaml": "two"})
	look(t, rig.Source)
	other := rig.Force(first, map[string]string{"a.yaml": "other"})
	if got := look(t, rig.Source).Head.Commit; got != other {
		t.Fatalf("Head is %q, want %q", got, other)
	}
	list(t, rig.Source, second, other, nil)
	list(t, rig.Source, first, other, nil)
}

func betweenMany(t *testing.T, rig SourceRig) {
	first := rig.Push(map[string]string{"a.yaml": "start"})
	newest := ""
	for i := range 52 {
		newest = rig.Push(map[string]string{"a.yaml": fmt.Sprint(i)})
	}
	look(t, rig.Source)
	got, err := rig.Source.Between(context.Background(), first, newest)
	if err != nil || len(got) > 50 {
		t.Errorf("Between lists %d, %v; want at most 50", len(got), err)
	}
}

func unknownCommit(t *testing.T, rig SourceRig) {
	rig.Push(map[string]string{"a.yaml": "one"})
	look(t, rig.Source)
	if _, err := rig.Source.Tree(context.Background(), strings.Repeat("e", 40)); err == nil {
		t.Error("Tree gives a commit that nobody showed")
	}
}

func lookCancelled(t *testing.T, rig SourceRig) {
	rig.Push(map[string]string{"a.yaml": "one"})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := rig.Source.Look(ctx); err == nil {
		t.Error("Look goes on")
	}
}
