package git

import (
	"context"
	"errors"
	"fmt"
	"io"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/revlist"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// localRemote is a repository on this machine, bare or a working clone. It is opened anew each
// time, because somebody else writes to it.
type localRemote struct{ path string }

func (r *localRemote) refs(context.Context) (map[string]plumbing.Hash, error) {
	g, err := openAt(r.path)
	if err != nil {
		return nil, err
	}
	iter, err := g.References()
	if err != nil {
		return nil, err
	}
	refs := make(map[string]plumbing.Hash)
	err = iter.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() == plumbing.HashReference {
			refs[ref.Name().String()] = ref.Hash()
		}
		return nil
	})
	return refs, err
}

func (r *localRemote) pack(ctx context.Context, wants, haves []plumbing.Hash, to io.Writer) error {
	g, err := openAt(r.path)
	if err != nil {
		return err
	}
	known := haves[:0:0]
	for _, h := range haves {
		if g.Storer.HasEncodedObject(h) == nil {
			known = append(known, h)
		}
	}
	objects, err := revlist.Objects(g.Storer, wants, known)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return fmt.Errorf("the repository at %q lacks objects of its own history; if it is a shallow clone, run git fetch --unshallow there: %w", r.path, err)
	}
	if err != nil {
		return err
	}
	_, err = packfile.NewEncoder(&endingWriter{ctx.Err, to}, g.Storer, false).Encode(objects, 0)
	return err
}

// endingWriter ends a long copy when its context ends.
type endingWriter struct {
	ended func() error
	to    io.Writer
}

func (w *endingWriter) Write(p []byte) (int, error) {
	if err := w.ended(); err != nil {
		return 0, err
	}
	return w.to.Write(p)
}

// openAt opens a repository: the folder that holds .git, a linked worktree, or a bare one.
func openAt(path string) (*gogit.Repository, error) {
	g, err := gogit.PlainOpenWithOptions(path, &gogit.PlainOpenOptions{EnableDotGitCommonDir: true})
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		return nil, fmt.Errorf("no Git repository at %q; name the folder that holds .git, or a bare repository: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	if st, ok := g.Storer.(*filesystem.Storage); ok {
		if _, err := st.Filesystem().Stat("objects/info/alternates"); err == nil {
			return nil, fmt.Errorf("the repository at %q borrows objects from another one, which is not read; run git repack -a -d there and remove objects/info/alternates", path)
		}
	}
	return g, nil
}
