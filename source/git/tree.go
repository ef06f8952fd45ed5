package git

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Unfit is why a file or directory of a tree is not given out: its author has to change it, and
// to read again will not help. The fs.PathError around it names the file.
type Unfit string

func (u Unfit) Error() string { return string(u) }

// Unfit tells whoever does not know this package that the author has to act.
func (u Unfit) Unfit() bool { return true }

const (
	isLink      = Unfit("is a symbolic link, which is not followed; put the file itself here")
	isSubmodule = Unfit("is a submodule, which is not read; put the files themselves here")
	isLFS       = Unfit("is a Git LFS pointer, not its content; store the file in Git itself (git lfs untrack)")
)

// tree is a commit as fs.FS, fs.ReadDirFS, fs.ReadFileFS and fs.StatFS. Directories are read when
// they are first needed and kept; files are read each time.
type tree struct {
	repo *Repo
	root plumbing.Hash
	time time.Time // of the commit: every file's

	mu    sync.Mutex
	dirs  map[string]*dir // by path, not by hash: one hash in many places must count many times
	count int             // entries in dirs
}

// dir is a directory that has been read; with err, one that is unfit.
type dir struct {
	names map[string]object.TreeEntry
	list  []fs.DirEntry // sorted by name
	err   error
}

// Open gives a file or a directory. Whole contents are in memory: the limits bound them.
func (t *tree) Open(name string) (fs.File, error) {
	e, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if e.IsDir() {
		list, err := t.ReadDir(name)
		return &openDir{info: e, list: list}, err
	}
	data, err := t.content("open", name, e)
	if err != nil {
		return nil, err
	}
	e.size = int64(len(data))
	return &openFile{info: e, Reader: bytes.NewReader(data)}, nil
}

// ReadFile gives a copy of a file's content.
func (t *tree) ReadFile(name string) ([]byte, error) {
	e, err := t.find("read", name)
	if err != nil {
		return nil, err
	}
	if e.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	return t.content("read", name, e)
}

// ReadDir lists a directory, sorted by name. Symbolic links and submodules are shown, as
// fs.ModeSymlink and fs.ModeIrregular, but never opened.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !e.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	d, err := t.dirAt("readdir", name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(d.list), nil
}

// Stat tells type and size without reading the content.
func (t *tree) Stat(name string) (fs.FileInfo, error) {
	e, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	if !e.IsDir() {
		if e.size, err = t.repo.blobSize(e.hash); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
	}
	return e, nil
}

// Hash names what a file or directory holds by Git's own hash, without reading it: equal names
// are equal content. That of a file begins with "blob:", that of a directory with "tree:".
func (t *tree) Hash(name string) (string, error) {
	e, err := t.find("hash", name)
	switch {
	case err != nil:
		return "", err
	case name == ".":
		return "tree:" + t.root.String(), nil
	case e.IsDir():
		return "tree:" + e.hash.String(), nil
	}
	return "blob:" + e.hash.String(), nil
}

// find looks a name up, and refuses what is neither a file nor a directory.
func (t *tree) find(op, name string) (info, error) {
	if !fs.ValidPath(name) {
		return info{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return info{name: ".", mode: fs.ModeDir | 0o555, time: t.time}, nil
	}
	parent, base := path.Split(name)
	d, err := t.dirAt(op, path.Clean(parent))
	if errors.Is(err, fs.ErrNotExist) {
		return info{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return info{}, err
	}
	e, ok := d.names[base]
	if !ok {
		return info{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	if err := usable(e.Mode); err != nil {
		return info{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return t.info(e), nil
}

func usable(m filemode.FileMode) error {
	switch m {
	case filemode.Symlink:
		return isLink
	case filemode.Submodule:
		return isSubmodule
	}
	return nil
}

// dirAt walks to a directory; an error names the directory of the path that stands in the way.
func (t *tree) dirAt(op, name string) (*dir, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, err := t.dir(".", nil)
	for i, at := 0, "."; err == nil && name != "." && i < len(name); {
		part, _, _ := strings.Cut(name[i:], "/")
		i += len(part) + 1
		at = path.Join(at, part)
		e, ok := d.names[part]
		if !ok || usable(e.Mode) == nil && e.Mode != filemode.Dir {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		if err := usable(e.Mode); err != nil {
			return nil, &fs.PathError{Op: op, Path: at, Err: err}
		}
		d, err = t.dir(at, &e)
	}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return nil, &fs.PathError{Op: op, Path: path.Path, Err: path.Err}
	}
	return d, err
}

// dir reads one directory, once; e is nil for the root. A read that failed is tried again at the
// next call, an unfit directory stays unfit. Under mu, or before the tree is shared.
func (t *tree) dir(at string, e *object.TreeEntry) (*dir, error) {
	if d := t.dirs[at]; d != nil {
		return d, d.err
	}
	fail := func(err error) (*dir, error) { return nil, &fs.PathError{Op: "readdir", Path: at, Err: err} }
	if n := strings.Count(at, "/") + 2; n > t.repo.limits.Depth {
		return fail(Unfit(fmt.Sprintf("lies deeper than %d names; move it up", t.repo.limits.Depth)))
	}
	hash := t.root
	if e != nil {
		hash = e.Hash
	}
	entries, err := t.repo.entries(hash)
	if err != nil {
		return fail(err)
	}
	if t.count += len(entries); t.count > t.repo.limits.Files {
		return fail(Unfit(fmt.Sprintf("brings the tree over %d files and directories; move what the fleet does not need out of what is read", t.repo.limits.Files)))
	}
	d := &dir{names: make(map[string]object.TreeEntry, len(entries))}
	if err := d.fill(t, entries); err != nil {
		d.err = &fs.PathError{Op: "readdir", Path: at, Err: err}
	}
	t.dirs[at] = d
	return d, d.err
}

func (d *dir) fill(t *tree, entries []object.TreeEntry) error {
	folded := make(map[string]string, len(entries))
	for _, e := range entries {
		if e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") || !utf8.ValidString(e.Name) {
			return Unfit(fmt.Sprintf("holds the name %q, which is not that of a file; rename it", e.Name))
		}
		fold := strings.ToLower(strings.ToUpper(e.Name))
		if other, ok := folded[fold]; ok {
			return Unfit(fmt.Sprintf("holds %q and %q, which differ only by case; rename one", other, e.Name))
		}
		folded[fold] = e.Name
		d.names[e.Name] = e
		d.list = append(d.list, dirEntry{tree: t, info: t.info(e)})
	}
	slices.SortFunc(d.list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return nil
}

var lfsHead = []byte("version https://git-lfs.github.com/spec/")

func (t *tree) content(op, name string, e info) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	size, err := t.repo.blobSize(e.hash)
	if err != nil {
		return fail(err)
	}
	if size > t.repo.limits.Blob {
		return fail(Unfit(fmt.Sprintf("has %d bytes, more than the %d that a file may have; take it out or split it", size, t.repo.limits.Blob)))
	}
	data, err := t.repo.blob(e.hash)
	if err != nil {
		return fail(err)
	}
	if len(data) < 1024 && bytes.HasPrefix(data, lfsHead) {
		return fail(isLFS)
	}
	return data, nil
}

func (t *tree) info(e object.TreeEntry) info {
	i := info{name: e.Name, hash: e.Hash, time: t.time, mode: 0o444}
	switch e.Mode {
	case filemode.Dir:
		i.mode = fs.ModeDir | 0o555
	case filemode.Executable:
		i.mode = 0o555
	case filemode.Symlink:
		i.mode = fs.ModeSymlink | 0o777
	case filemode.Submodule:
		i.mode = fs.ModeIrregular
	}
	return i
}
