package kustomize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// hasher is what a tree may offer that knows its contents by name, so that a build which has not
// changed costs no reading. Hash is the same for the same bytes of a file, and another for others;
// that of a directory begins with "tree:". Its errors are those of fs.Stat.
type hasher interface {
	Hash(name string) (string, error)
}

// fault is an error of a tree that its author has to mend. To read again would not help.
type fault interface {
	error
	Unfit() bool
}

type kind string

const (
	absent  kind = "absent"
	regular kind = "file"
	folder  kind = "directory"
	refused kind = "refused"
)

// place is what stands at a path.
type place struct {
	kind kind
	why  string // it cannot be read; "" for files and directories
	hash string // of a file's contents, where the tree knows it
}

// tree reads each path once, however many builds ask for it.
type tree struct {
	from   fs.FS
	hasher hasher // nil: contents are hashed here
	butane Butane
	places map[string]place
	lists  map[string][]fs.DirEntry
	files  map[string]*file
	memory filesys.FileSystem // the files that kustomize may see
	held   int64              // bytes in files
	broken error              // the tree itself could not be read; no fault of the authors
}

// Butane reads one *.bu file as the MachineConfig that it stands for.
type Butane func(name string, source []byte) (manifest []byte, warnings []string, err error)

func newTree(from fs.FS, butane Butane) *tree {
	t := &tree{from: from, butane: butane, places: map[string]place{}, lists: map[string][]fs.DirEntry{}}
	t.hasher, _ = from.(hasher)
	t.forget()
	return t
}

// forget drops contents, so that what is held at once has a bound.
func (t *tree) forget() {
	t.files, t.memory, t.held = map[string]*file{}, filesys.MakeFsInMemory(), 0
}

// place says what stands at a path whose every part is a plain directory.
func (t *tree) place(at string) place {
	if p, known := t.places[at]; known {
		return p
	}
	var p place
	switch {
	case !fs.ValidPath(at):
		return place{kind: refused, why: fmt.Sprintf("%q is no path inside the repository", at)}
	case at == ".":
		p = place{kind: folder}
	default:
		switch parent := t.place(path.Dir(at)); parent.kind {
		case folder:
			p = t.look(at)
		case refused:
			p = parent
		default:
			p = place{kind: absent}
		}
	}
	if p.kind == absent {
		p.why = fmt.Sprintf("%q is not in the repository", at)
	}
	t.places[at] = p
	return p
}

func (t *tree) look(at string) place {
	if t.hasher != nil {
		hash, err := t.hasher.Hash(at)
		switch {
		case err != nil:
			return t.missing(at, err)
		case strings.HasPrefix(hash, "tree:"):
			return place{kind: folder}
		}
		return place{kind: regular, hash: hash}
	}
	info, err := fs.Lstat(t.from, at)
	switch {
	case err != nil:
		return t.missing(at, err)
	case info.Mode()&fs.ModeSymlink != 0:
		return place{kind: refused, why: fmt.Sprintf("%q is a symbolic link: links are not followed, put the file itself there", at)}
	case info.IsDir():
		return place{kind: folder}
	case !info.Mode().IsRegular():
		return place{kind: refused, why: fmt.Sprintf("%q is not a regular file", at)}
	}
	return place{kind: regular}
}

// missing tells what is not there from what is not fit and from what could not be read.
func (t *tree) missing(at string, err error) place {
	if why := unfit(at, err); why != "" {
		return place{kind: refused, why: why}
	}
	t.trouble(at, err)
	return place{kind: absent}
}

func unfit(at string, err error) string {
	var mine fault
	if !errors.As(err, &mine) || !mine.Unfit() {
		return ""
	}
	if wrapped := (*fs.PathError)(nil); errors.As(err, &wrapped) {
		at = wrapped.Path
	}
	return fmt.Sprintf("%q %v", at, mine)
}

// trouble keeps the first error that says nothing about the authors.
func (t *tree) trouble(at string, err error) {
	if t.broken == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		t.broken = fmt.Errorf("read %q: %w", at, err)
	}
}

// list is what a directory holds, or why it cannot be listed.
func (t *tree) list(dir string) ([]fs.DirEntry, string) {
	if list, known := t.lists[dir]; known {
		return list, ""
	}
	list, err := fs.ReadDir(t.from, dir)
	if err != nil {
		t.trouble(dir, err)
		return nil, unfit(dir, err)
	}
	t.lists[dir] = list
	return list, ""
}

// kustomizationIn is the kustomization file of a directory, or "". What is no plain file is taken
// for one, too, so that it is refused where it is read and not passed over.
func (t *tree) kustomizationIn(dir string) string {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		at := path.Join(dir, name)
		if kind := t.place(at).kind; kind == regular || kind == refused && t.place(dir).kind == folder {
			return at
		}
	}
	return ""
}

// file is a file that has been read.
type file struct {
	data []byte
	why  string // it cannot be used; data is empty
	sum  string // of data, once it was asked for

	yaml      bool // it was read as such
	inspected bool
	flaw      error          // of its YAML, once inspected
	overlay   *kustomization // once it was read as one
	manifest  []byte         // once it was read as Butane
	warnings  []string
	mistake   error
}

func (t *tree) file(at string) *file {
	if f := t.files[at]; f != nil {
		return f
	}
	f := &file{}
	f.data, f.why = t.read(at)
	t.held += int64(len(f.data))
	t.files[at] = f
	return f
}

func (t *tree) read(at string) (contents []byte, why string) {
	tooLarge := fmt.Sprintf("is larger than %d MiB: a MachineConfig cannot hold that much", maxFile>>20)
	opened, err := t.from.Open(at)
	if err != nil {
		if why := unfit(at, err); why != "" {
			return nil, why
		}
		t.trouble(at, err)
		return nil, "cannot be opened"
	}
	defer opened.Close()
	info, err := opened.Stat()
	switch {
	case err != nil:
		t.trouble(at, err)
		return nil, "cannot be read"
	case !info.Mode().IsRegular():
		return nil, "is not a regular file"
	case info.Size() > maxFile:
		return nil, tooLarge
	}
	buffer := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	if _, err = buffer.ReadFrom(io.LimitReader(opened, maxFile+1)); err != nil {
		t.trouble(at, err)
		return nil, "cannot be read"
	}
	if buffer.Len() > maxFile {
		return nil, tooLarge
	}
	return buffer.Bytes(), ""
}

// print names what a build saw at a path; a path that ends in a slash is the list of a directory.
// A build that would see the same again would come out the same.
func (t *tree) print(at string) string {
	if dir, listed := strings.CutSuffix(at, "/"); listed {
		list, why := t.list(dir)
		names := make([]string, 0, len(list))
		for _, e := range list {
			names = append(names, e.Type().String()+" "+e.Name())
		}
		slices.Sort(names)
		return digest([]byte(why + "\x00" + strings.Join(names, "\x00")))
	}
	switch p := t.place(at); {
	case p.kind != regular:
		return string(p.kind) + ":" + p.why
	case p.hash != "":
		return p.hash
	default:
		f := t.file(at)
		if f.sum == "" {
			f.sum = "file:" + f.why + digest(f.data)
		}
		return f.sum
	}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
