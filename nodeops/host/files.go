// Package host is the disk and the service manager of a Linux node: files beneath a root, each
// put whole and durably, and units through systemd.
package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/sluice-gitops/sluice/nodeops/agent"
)

// MaxFile is the largest file that is read: what is larger is no plain file to us, and so is
// neither kept nor replaced.
const MaxFile = 64 << 20

// Files is the disk beneath a root. As root it sets and sees owners; as an ordinary user it does
// neither, and every owner is agent.Anyone.
type Files struct {
	// Trace, if set, hears of each change to the disk before it is made, and an error from it is
	// what the disk answers. The change's words are create, write, sync, syncdir, rename, remove,
	// mkdir, chmod and chown.
	Trace func(change, path string) error

	root   *os.Root
	self   *os.File // the same directory
	owners bool
}

// Open opens the disk beneath a directory.
func Open(dir string) (*Files, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open root: %w", err)
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open root: %w", err)
	}
	return &Files{root: root, self: self, owners: os.Geteuid() == 0}, nil
}

// Close gives the root back.
func (f *Files) Close() error { return errors.Join(f.self.Close(), f.root.Close()) }

func (f *Files) trace(change, p string) error {
	if f.Trace == nil {
		return nil
	}
	if err := f.Trace(change, p); err != nil {
		return &fs.PathError{Op: change, Path: p, Err: err}
	}
	return nil
}

// Look says what stands at a path.
func (f *Files) Look(p string) (agent.Entry, error) {
	dir, err := f.open(path.Dir(p), false)
	var astray strayError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return agent.Entry{Kind: agent.Absent}, nil
	case errors.As(err, &astray):
		return agent.Entry{Kind: agent.Other, Target: "(" + astray.why + ")"}, nil
	case err != nil:
		return agent.Entry{}, err
	}
	defer dir.Close()
	return f.look(dir, path.Base(p))
}

func (f *Files) look(dir *os.Root, base string) (agent.Entry, error) {
	info, err := dir.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) {
		return agent.Entry{Kind: agent.Absent}, nil
	}
	if err != nil {
		return agent.Entry{}, err
	}
	return f.entry(dir, base, info)
}

func (f *Files) entry(dir *os.Root, base string, info fs.FileInfo) (agent.Entry, error) {
	e := agent.Entry{Kind: agent.Other, Mode: unixMode(info.Mode()), UID: agent.Anyone, GID: agent.Anyone}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && f.owners {
		e.UID, e.GID = int(st.Uid), int(st.Gid)
	}
	var err error
	switch mode := info.Mode(); {
	case mode.IsDir():
		e.Kind = agent.Dir
	case mode&fs.ModeSymlink != 0:
		e.Kind, e.Mode = agent.Symlink, 0
		e.Target, err = dir.Readlink(base)
	case mode.IsRegular() && info.Size() > MaxFile:
		e.Target = fmt.Sprintf("(%d bytes: larger than %d)", info.Size(), MaxFile)
	case mode.IsRegular():
		e.Kind = agent.Regular
		if e.Data, err = read(dir, base, info); errors.Is(err, fs.ErrPermission) {
			e.Kind, e.Target, err = agent.Other, "(not readable for us)", nil
		}
	default:
		e.Target = "(" + mode.Type().String() + ")"
	}
	return e, err
}

// read reads the very file that was seen: should another have taken its place meanwhile, that is
// an error, not somebody else's file.
func read(dir *os.Root, base string, seen fs.FileInfo) ([]byte, error) {
	file, err := dir.OpenFile(base, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(info, seen) {
		return nil, fmt.Errorf("read %q: it changed while it was looked at", base)
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if len(data) > MaxFile {
		return nil, fmt.Errorf("read %q: it grew beyond %d bytes", base, MaxFile)
	}
	return data, err
}

const special = 0o7000

func unixMode(m fs.FileMode) uint32 {
	out := uint32(m.Perm())
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&flag != 0 {
			out |= bit
		}
	}
	return out
}

func fileMode(m uint32) fs.FileMode {
	out := fs.FileMode(m & 0o777)
	if m&special == 0 {
		return out
	}
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if m&bit != 0 {
			out |= flag
		}
	}
	return out
}
