package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Repo reads a repository on disk, without network and without writing to it. It is safe for
// concurrent use.
type Repo struct {
	path   string
	limits Limits
	broken func() // told when the object store could not be read; may be nil

	mu  sync.Mutex
	git *gogit.Repository // nil: opened at the next read. Its stores change caches on read: use under mu
}

// Open opens a local repository, a working clone or bare, with the default limits.
func Open(path string) (*Repo, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open repository %q: %w", path, err)
	}
	r := &Repo{path: abs, limits: Limits{}.withDefaults()}
	if err := r.read(func(*gogit.Repository) error { return nil }); err != nil {
		return nil, fmt.Errorf("open repository %q: %w", path, err)
	}
	return r, nil
}

// Tree is the commit (40 hexadecimal digits) as a read-only file system; see Source.Tree.
func (r *Repo) Tree(commit string) (fs.FS, error) {
	hash, err := parseHash(commit)
	if err != nil {
		return nil, err
	}
	c, err := r.commit(hash)
	if err != nil {
		return nil, fmt.Errorf("read commit %q: %w", commit, err)
	}
	t := &tree{repo: r, root: c.TreeHash, time: c.Committer.When, dirs: make(map[string]*dir)}
	if _, err := t.dir(".", nil); err != nil && !errors.As(err, new(Unfit)) {
		return nil, fmt.Errorf("read commit %q: %w", commit, err)
	}
	return t, nil
}

// MergeBase is the newest commit that a and b share; "" when they share none.
func (r *Repo) MergeBase(a, b string) (string, error) {
	return r.mergeBase(context.Background(), a, b)
}

// read runs f with the repository to itself. The libraries below parse what strangers wrote: a
// panic there is an error here.
func (r *Repo) read(f func(*gogit.Repository) error) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			r.git, err = nil, fmt.Errorf("read %q: malformed object: %v", r.path, p)
		}
		if err == nil || errors.As(err, new(Unfit)) {
			return
		}
		if r.broken != nil && !scarce(err) {
			r.broken()
		}
		err = storeError{err}
	}()
	if r.git == nil {
		g, err := openAt(r.path)
		if err != nil {
			return err
		}
		r.git = g
	}
	return f(r.git)
}

// storeError is an object store that could not be read. It never is fs.ErrNotExist, whatever file
// of the store was missing: callers take that to mean that the tree has no such file.
type storeError struct{ err error }

func (e storeError) Error() string { return e.err.Error() }
func (e storeError) Is(target error) bool {
	return target != fs.ErrNotExist && errors.Is(e.err, target)
}

// reset makes the next read see what was written to disk since.
func (r *Repo) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.git = nil
}

// has says whether an object is there, without reading it.
func (r *Repo) has(h plumbing.Hash) (ok bool, err error) {
	err = r.read(func(g *gogit.Repository) error {
		err := g.Storer.HasEncodedObject(h)
		if ok = err == nil; errors.Is(err, plumbing.ErrObjectNotFound) {
			return nil
		}
		return err
	})
	return ok, err
}

// maxMeta bounds a commit or a directory object: 8 MiB is a directory of about 200,000 names.
const maxMeta = 8 << 20

// commit and entries tell damage (the object cannot be had) from malice or accident at the origin
// (it can, but says nonsense): the latter is Unfit, and no reason to throw a mirror away.
func (r *Repo) commit(h plumbing.Hash) (*object.Commit, error) {
	c := new(object.Commit)
	err := r.meta(plumbing.CommitObject, h, c.Decode)
	return c, err
}

func (r *Repo) entries(h plumbing.Hash) ([]object.TreeEntry, error) {
	t := new(object.Tree)
	err := r.meta(plumbing.TreeObject, h, t.Decode)
	return t.Entries, err
}

func (r *Repo) meta(kind plumbing.ObjectType, h plumbing.Hash, decode func(plumbing.EncodedObject) error) error {
	return r.read(func(g *gogit.Repository) error {
		size, err := g.Storer.EncodedObjectSize(h)
		if err == nil && size > maxMeta {
			return Unfit(fmt.Sprintf("the %s %s has %d bytes, more than %d", kind, h, size, maxMeta))
		}
		o, err := g.Storer.EncodedObject(kind, h)
		if err != nil {
			return fmt.Errorf("read %s %s: %w", kind, h, err)
		}
		if err := decode(o); err != nil {
			return Unfit(fmt.Sprintf("the %s %s is malformed: %v", kind, h, err))
		}
		return nil
	})
}

func (r *Repo) blobSize(h plumbing.Hash) (size int64, err error) {
	err = r.read(func(g *gogit.Repository) error {
		if size, err = g.Storer.EncodedObjectSize(h); err != nil {
			return fmt.Errorf("read file object %s: %w", h, err)
		}
		return nil
	})
	return size, err
}

// blob reads a whole file; the caller has looked at its size before.
func (r *Repo) blob(h plumbing.Hash) (data []byte, err error) {
	err = r.read(func(g *gogit.Repository) error {
		b, err := g.BlobObject(h)
		if err != nil {
			return fmt.Errorf("read file object %s: %w", h, err)
		}
		rd, err := b.Reader()
		if err != nil {
			return err
		}
		defer rd.Close()
		if data, err = io.ReadAll(rd); err == nil && int64(len(data)) != b.Size {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	return data, err
}

// scarce tells what is no fault of the repository: a mirror is not thrown away for it.
func scarce(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.As(err, new(overLimit))
}

func parseHash(commit string) (plumbing.Hash, error) {
	if !plumbing.IsHash(commit) {
		return plumbing.ZeroHash, fmt.Errorf("read commit %q: is not 40 hexadecimal digits", commit)
	}
	return plumbing.NewHash(commit), nil
}
