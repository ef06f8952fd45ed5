// Package git follows one branch of a Git repository: what the remote shows, every commit as a
// read-only file system, and where a pull request left the branch. It never makes a worktree.
package git

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-gitops/sluice/source"
)

// Source follows a branch of a remote repository through a bare mirror on disk. The zero value
// with URL, Branch and Dir set is ready; nothing is opened before the first call. It is safe for
// concurrent use, and must not be copied after the first call.
type Source struct {
	URL    string // https://..., http:// on loopback only, or the path of a local repository
	Branch string // "main"; never a full ref name
	Dir    string // belongs to this Source alone: the mirror, and what was last seen

	// Username and Password are for basic authentication, Token is a bearer token; one or the other.
	Username, Password, Token string

	Limits    Limits
	Transport http.RoundTripper // nil = the default, with the proxy of the environment

	boot   sync.Mutex // guards ready, and the fields that begin sets before it is true
	ready  bool
	remote remote
	repo   *Repo

	talk   sync.Mutex // one conversation with the remote at a time; guards the fields below
	last   source.Sighting
	unread map[string]error // pull heads that could not be fetched, and why
	healed time.Time        // when the mirror was last thrown away for damage

	broken atomic.Bool // a read found the mirror damaged
}

// Limits bound what a hostile repository or server can cost. Zero means the default.
type Limits struct {
	Pack     int64         // bytes received in one fetch; 256 MiB
	Unpacked int64         // bytes that one fetch unpacks to; 8 GiB
	Object   int64         // bytes of the largest object in any history; 128 MiB
	Blob     int64         // bytes of a file that is read from a tree; 4 MiB
	Files    int           // entries of all directories that are read from one tree; 50,000
	Depth    int           // names in the longest path that is read from a tree; 64
	Timeout  time.Duration // of one answer of the remote, from first to last byte; 2 minutes
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Pack:     cmp.Or(l.Pack, 256<<20),
		Unpacked: cmp.Or(l.Unpacked, 8<<30),
		Object:   cmp.Or(l.Object, 128<<20),
		Blob:     cmp.Or(l.Blob, 4<<20),
		Files:    cmp.Or(l.Files, 50_000),
		Depth:    cmp.Or(l.Depth, 64),
		Timeout:  cmp.Or(l.Timeout, 2*time.Minute),
	}
}

// Look asks the remote for its refs, once, and fetches what the mirror lacks of them. When the
// remote does not answer, or no longer has the branch, it returns the last sighting together
// with the error, also after a restart. A pull head that cannot be fetched is no error of Look:
// Tree says why.
func (s *Source) Look(ctx context.Context) (source.Sighting, error) {
	if err := s.begin(); err != nil {
		return source.Sighting{}, err
	}
	s.talk.Lock()
	defer s.talk.Unlock()
	if err := s.look(ctx); err != nil {
		return clone(s.last), s.mask(fmt.Errorf("look at %q: %w", s.URL, err))
	}
	return clone(s.last), nil
}

// Tree is the commit as a read-only file system over the mirror. It stays usable while later
// Looks fetch, and is safe for concurrent use. Files that are not given out (symbolic links,
// submodules, LFS pointers, whatever exceeds the limits) are fs.PathErrors that wrap Unfit.
func (s *Source) Tree(ctx context.Context, commit string) (fs.FS, error) {
	var tree fs.FS
	err := s.withCommits(ctx, func() (err error) {
		tree, err = s.repo.Tree(commit)
		return err
	}, commit)
	return tree, err
}

// MergeBase is the commit from which head left the followed branch; "" when they share none.
// Where there are several, it is the newest.
func (s *Source) MergeBase(ctx context.Context, followed, head string) (string, error) {
	var base string
	err := s.withCommits(ctx, func() (err error) {
		base, err = s.repo.mergeBase(ctx, followed, head)
		return err
	}, followed, head)
	return base, err
}

// withCommits runs read over commits that are in the mirror. If the mirror proves to be damaged,
// it is made afresh and read runs a second and last time.
func (s *Source) withCommits(ctx context.Context, read func() error, commits ...string) error {
	if err := s.begin(); err != nil {
		return err
	}
	attempt := func() error {
		for _, c := range commits {
			if err := s.ensure(ctx, c); err != nil {
				return err
			}
		}
		return read()
	}
	err := attempt()
	if err == nil || !s.broken.Load() || ctx.Err() != nil {
		return s.mask(err)
	}
	if _, lookErr := s.Look(ctx); lookErr != nil {
		return s.mask(fmt.Errorf("%w (and to make the mirror afresh: %w)", err, lookErr))
	}
	if err = attempt(); err != nil && s.broken.Load() {
		err = fmt.Errorf("%w (the mirror in %q is damaged, though it was made afresh not long ago; run git fsck in the remote repository, and check the disk)", err, s.Dir)
	}
	return s.mask(err)
}
