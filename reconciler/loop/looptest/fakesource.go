package looptest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"testing/fstest"

	"github.com/sluice-gitops/sluice/source"
)

// FakeSource is a repository in memory with one branch, main. Its zero value is ready and empty.
type FakeSource struct {
	mu      sync.Mutex
	trees   map[string]fstest.MapFS
	parents map[string]string
	head    string
	pulls   map[int]string
	last    source.Sighting // as Look has shown it
	fail    error
	looks   int
}

// Look shows the branch and the pull requests.
func (f *FakeSource) Look(ctx context.Context) (source.Sighting, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	err := ctx.Err()
	if err == nil {
		err = f.fail
	}
	if err != nil {
		return f.last, fmt.Errorf("look: %w", err)
	}
	f.last = source.Sighting{Head: source.Revision{Ref: "refs/heads/main", Commit: f.head}, Proposals: maps.Clone(f.pulls)}
	return f.last, nil
}

// Tree is a commit as it was made.
func (f *FakeSource) Tree(_ context.Context, commit string) (fs.FS, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	tree, ok := f.trees[commit]
	if !ok {
		return nil, fmt.Errorf("read tree: there is no commit %s", source.Short(commit))
	}
	return tree, nil
}

// MergeBase is the newest commit from which both come.
func (f *FakeSource) MergeBase(_ context.Context, followed, head string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ours := f.line(followed)
	for _, c := range f.line(head) {
		if slices.Contains(ours, c) {
			return c, nil
		}
	}
	return "", nil
}

// Between is what the branch went through.
func (f *FakeSource) Between(_ context.Context, older, newer string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	line := f.line(newer)
	at := slices.Index(line, older)
	if at < 1 || len(line) == 0 {
		return nil, nil
	}
	out := line[1:min(at, 51)]
	slices.Reverse(out)
	return out, nil
}

// line is a commit and all before it, the newest first.
func (f *FakeSource) line(commit string) (out []string) {
	for c := commit; c != ""; c = f.parents[c] {
		out = append(out, c)
	}
	return out
}

// Push makes a commit on top of the branch.
func (f *FakeSource) Push(files map[string]string) string { return f.Force(f.Head(), files) }

// Force makes the branch a commit on top of another; "" is none.
func (f *FakeSource) Force(onto string, files map[string]string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head = f.commit(onto, files)
	return f.head
}

// Merge makes the branch a commit that is there already, such as the head of a pull request.
func (f *FakeSource) Merge(commit string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head = commit
}

// Pull makes the head of a pull request a commit on top of another.
func (f *FakeSource) Pull(number int, onto string, files map[string]string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pulls == nil {
		f.pulls = map[int]string{}
	}
	f.pulls[number] = f.commit(onto, files)
	return f.pulls[number]
}

// Close takes a pull request away.
func (f *FakeSource) Close(number int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pulls, number)
}

func (f *FakeSource) commit(parent string, files map[string]string) string {
	if f.trees == nil {
		f.trees, f.parents = map[string]fstest.MapFS{}, map[string]string{}
	}
	sum := sha256.Sum256(fmt.Append(nil, len(f.trees)))
	commit := hex.EncodeToString(sum[:20])
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	f.trees[commit], f.parents[commit] = tree, parent
	return commit
}

// Fail makes every Look return err and what it showed last; nil ends it.
func (f *FakeSource) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// Head is the newest commit of the branch, seen or not.
func (f *FakeSource) Head() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

// Looks counts the calls of Look so far.
func (f *FakeSource) Looks() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks
}
