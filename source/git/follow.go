package git

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/sluice-gitops/sluice/source"
)

// look is one conversation with the remote. It leaves last as it was, or sets all of it.
func (s *Source) look(ctx context.Context) error {
	var refs map[string]plumbing.Hash
	err := s.call(ctx, func(ctx context.Context) (err error) {
		refs, err = s.remote.refs(ctx)
		return err
	})
	if err != nil {
		return err
	}
	seen, err := s.sight(refs)
	if err != nil {
		return err
	}
	if err := s.follow(ctx, plumbing.NewHash(seen.Head.Commit)); err != nil {
		return err
	}
	s.fetchPulls(ctx, seen)
	return s.remember(seen)
}

// pullHead is where GitHub and Gitea show the head of a pull request.
var pullHead = regexp.MustCompile(`^refs/pull/([1-9][0-9]{0,8})/head$`)

func (s *Source) sight(refs map[string]plumbing.Hash) (source.Sighting, error) {
	ref := "refs/heads/" + s.Branch
	head, ok := refs[ref]
	if !ok && len(refs) == 0 {
		return source.Sighting{}, fmt.Errorf("the repository is empty; push a first commit to branch %q", s.Branch)
	}
	if !ok {
		return source.Sighting{}, fmt.Errorf("the repository has no branch %q; push it, or follow another branch", s.Branch)
	}
	seen := source.Sighting{
		Head:      source.Revision{Repo: s.URL, Ref: ref, Commit: head.String()},
		Proposals: make(map[int]string),
	}
	for name, hash := range refs {
		if m := pullHead.FindStringSubmatch(name); m != nil {
			n, _ := strconv.Atoi(m[1])
			seen.Proposals[n] = hash.String()
		}
	}
	return seen, nil
}

// healPause keeps a repository that is malformed at its origin, or a failing disk, from being
// cloned at every look.
const healPause = 30 * time.Second

// follow brings the head of the branch into the mirror, by the cheapest way that is safe: not at
// all, by a fetch, or by a whole new mirror. Damage that is found again soon after a new mirror was
// made is passed over where the head can be read: a pull request with a malformed object must
// not stop the branch from being followed.
func (s *Source) follow(ctx context.Context, head plumbing.Hash) error {
	there := exists(s.repo.path)
	ok, err := s.repo.has(head)
	damaged := err != nil || s.broken.Load()
	soon := !s.healed.IsZero() && time.Since(s.healed) < healPause
	switch {
	case there && damaged && !soon:
		if err := s.renew(ctx, head); err != nil {
			return fmt.Errorf("replace damaged mirror: %w", err)
		}
		s.healed = time.Now()
		return nil
	case there && err != nil:
		return fmt.Errorf("the mirror in %q is damaged again, soon after it was made afresh; check the disk: %w", s.Dir, err)
	case there && ok:
		return nil
	case there && !s.repo.crowded():
		return s.fetch(ctx, s.repo.path, []plumbing.Hash{head}, s.haves())
	}
	return s.renew(ctx, head)
}

// fetch takes wants into the repository at path.
func (s *Source) fetch(ctx context.Context, path string, wants, haves []plumbing.Hash) error {
	in, err := newIntake(path, s.repo.limits)
	if err != nil {
		if path == s.repo.path && !scarce(err) {
			s.broken.Store(true)
		}
		return fmt.Errorf("write to mirror: %w", err)
	}
	defer in.discard()
	err = s.call(ctx, func(ctx context.Context) error {
		if err := s.remote.pack(ctx, wants, haves, in); err != nil {
			return err
		}
		return in.keep(ctx)
	})
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	got := &Repo{path: path, limits: s.repo.limits}
	for _, w := range wants {
		if _, err := got.commit(w); err != nil {
			return fmt.Errorf("fetch commit %s: the remote did not send it: %w", w, err)
		}
	}
	s.repo.reset()
	return nil
}

// haves are the commits that need not be sent: what was followed, its recent history (the remote
// may have forgotten the tip after a force-push), and the pull heads in the mirror.
func (s *Source) haves() []plumbing.Hash {
	const most = 256
	var tips []plumbing.Hash
	for _, n := range newestFirst(s.last.Proposals) {
		tips = append(tips, plumbing.NewHash(s.last.Proposals[n]))
	}
	if s.last.Head.Commit != "" {
		tips = slices.Insert(tips, 0, plumbing.NewHash(s.last.Head.Commit))
	}
	return s.repo.recent(tips[:min(len(tips), most/2)], most)
}

// maxPulls is how many pull heads one look fetches. A forge keeps the refs of closed pull requests
// for ever; older ones are fetched when Tree asks for them.
const maxPulls = 100

// fetchPulls brings the newest pull heads into the mirror, all in one request. If that fails,
// they are left to Tree, one by one: one poisoned pull request must not hide the others.
func (s *Source) fetchPulls(ctx context.Context, seen source.Sighting) {
	current := slices.Collect(maps.Values(seen.Proposals))
	maps.DeleteFunc(s.unread, func(c string, _ error) bool { return !slices.Contains(current, c) })
	var wants []plumbing.Hash
	for _, n := range newestFirst(seen.Proposals) {
		hash := plumbing.NewHash(seen.Proposals[n])
		if _, failed := s.unread[hash.String()]; failed || slices.Contains(wants, hash) {
			continue
		}
		if ok, err := s.repo.has(hash); err != nil {
			return
		} else if !ok {
			wants = append(wants, hash)
		}
		if len(wants) == maxPulls {
			break
		}
	}
	if len(wants) == 0 || s.repo.crowded() {
		return
	}
	haves := append(s.haves(), plumbing.NewHash(seen.Head.Commit))
	err := s.fetch(ctx, s.repo.path, wants, haves)
	if err == nil || ctx.Err() != nil {
		return
	}
	if len(wants) > 1 {
		err = errors.New("not fetched with the others") // so not yet known to be its own fault
	}
	for _, w := range wants {
		s.unread[w.String()] = err
	}
}

func newestFirst(proposals map[int]string) []int {
	numbers := slices.Sorted(maps.Keys(proposals))
	slices.Reverse(numbers)
	return numbers
}

// ensure has the commit in the mirror, fetching it if it is a pull head that the last Look left out.
func (s *Source) ensure(ctx context.Context, commit string) error {
	hash, err := parseHash(commit)
	if err != nil {
		return err
	}
	if ok, err := s.repo.has(hash); ok || err != nil {
		return err
	}
	s.talk.Lock()
	defer s.talk.Unlock()
	if ok, err := s.repo.has(hash); ok || err != nil {
		return err
	}
	if commit == s.last.Head.Commit {
		s.broken.Store(true)
		return fmt.Errorf("read commit %q: is missing from the mirror in %q", commit, s.Dir)
	}
	if !slices.Contains(slices.Collect(maps.Values(s.last.Proposals)), commit) {
		return fmt.Errorf("read commit %q: the remote has not shown it, neither as the branch nor as a pull request", commit)
	}
	if err := s.unread[commit]; errors.As(err, new(overLimit)) {
		return fmt.Errorf("read commit %q: %w", commit, err)
	}
	if s.repo.crowded() {
		return fmt.Errorf("read commit %q: the mirror in %q is full; it is made afresh at the next push to %q", commit, s.Dir, s.Branch)
	}
	err = s.fetch(ctx, s.repo.path, []plumbing.Hash{hash}, s.haves())
	if err != nil {
		s.unread[commit] = err
		return fmt.Errorf("read commit %q: %w", commit, err)
	}
	delete(s.unread, commit)
	return nil
}

// call bounds one answer of the remote in time.
func (s *Source) call(ctx context.Context, f func(context.Context) error) error {
	limit := s.repo.limits.Timeout
	late := fmt.Errorf("no whole answer within %s: %w", limit, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	err := f(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx) // what the libraries below make of it does not say so
	}
	return err
}
