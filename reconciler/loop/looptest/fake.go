package looptest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sluice-gitops/sluice/source"
)

// FakeForge is a forge in memory, as one fleet sees it. Its zero value is ready and empty.
type FakeForge struct {
	mu        sync.Mutex
	proposals map[int]source.Proposal
	statuses  []source.Status
	comments  map[int]string
	writes    int
	fail      error
}

// Proposals lists what Open was told, without what Close was told.
func (f *FakeForge) Proposals(ctx context.Context) ([]source.Proposal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.broken(ctx); err != nil {
		return nil, fmt.Errorf("list proposals: %w", err)
	}
	var found []source.Proposal
	for _, p := range f.proposals {
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b source.Proposal) int { return a.Number - b.Number })
	return found, nil
}

// Post records a status.
func (f *FakeForge) Post(ctx context.Context, s source.Status) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.broken(ctx); err != nil {
		return fmt.Errorf("post status of %s: %w", source.Short(s.Commit), err)
	}
	f.statuses = append(f.statuses, s)
	f.writes++
	return nil
}

// Comment records the one comment of a pull request.
func (f *FakeForge) Comment(ctx context.Context, c source.Comment) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.broken(ctx); err != nil {
		return fmt.Errorf("comment on proposal %d: %w", c.Proposal, err)
	}
	if there, ok := f.comments[c.Proposal]; ok && there == c.Body {
		return nil
	}
	if f.comments == nil {
		f.comments = map[int]string{}
	}
	f.comments[c.Proposal] = c.Body
	f.writes++
	return nil
}

func (f *FakeForge) broken(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.fail
}

// Open adds a proposal, or puts a new one in the place of that number.
func (f *FakeForge) Open(p source.Proposal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.proposals == nil {
		f.proposals = map[int]source.Proposal{}
	}
	f.proposals[p.Number] = p
}

// Close takes a proposal away.
func (f *FakeForge) Close(number int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.proposals, number)
}

// Fail makes every call return err, and do nothing; nil ends it.
func (f *FakeForge) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// Statuses lists every status that was posted, repeats included, the oldest first.
func (f *FakeForge) Statuses() []source.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.statuses)
}

// Said is the last status of a commit and pool; false when there is none.
func (f *FakeForge) Said(commit, pool string) (source.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range slices.Backward(f.statuses) {
		if s.Commit == commit && s.Pool == pool {
			return s, true
		}
	}
	return source.Status{}, false
}

// CommentOn is the comment of a proposal; false when there is none.
func (f *FakeForge) CommentOn(number int) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, ok := f.comments[number]
	return body, ok
}

// Wipe deletes the comment of a proposal, as a maintainer may.
func (f *FakeForge) Wipe(number int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.comments, number)
}

// Writes counts what changed something: every status, and each comment that was new or different.
func (f *FakeForge) Writes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}
