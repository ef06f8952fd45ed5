package git

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// info is the fs.FileInfo of an entry of a tree. size is set where the content was looked at.
type info struct {
	name string
	mode fs.FileMode
	size int64
	time time.Time
	hash plumbing.Hash
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.time }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// dirEntry asks for the size of a file only when somebody wants it.
type dirEntry struct {
	tree *tree
	info info
}

func (d dirEntry) Name() string      { return d.info.name }
func (d dirEntry) IsDir() bool       { return d.info.IsDir() }
func (d dirEntry) Type() fs.FileMode { return d.info.mode.Type() }
func (d dirEntry) String() string    { return fs.FormatDirEntry(d) }

func (d dirEntry) Info() (fs.FileInfo, error) {
	i := d.info
	if i.mode.IsRegular() {
		size, err := d.tree.repo.blobSize(i.hash)
		if err != nil {
			return nil, &fs.PathError{Op: "stat", Path: i.name, Err: err}
		}
		i.size = size
	}
	return i, nil
}

type openFile struct {
	info info
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	info info
	list []fs.DirEntry // what has not been given out yet
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.list) {
		if n > 0 && len(d.list) == 0 {
			return nil, io.EOF
		}
		n = len(d.list)
	}
	out := d.list[:n:n]
	d.list = d.list[n:]
	return out, nil
}
