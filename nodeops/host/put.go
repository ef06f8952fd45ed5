package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"syscall"

	"github.com/sluice-gitops/sluice/nodeops/agent"
)

// Put makes every path of the tree be so. Contents are written and synced beside their places
// first, so that a full disk is met before anything has changed. Then what has to go goes, the
// deepest first; then the new takes its place, each by one rename; then the directories are
// synced. Whatever an earlier Put that was killed left beside a path is swept.
func (f *Files) Put(tree agent.Tree) error {
	paths := slices.Sorted(maps.Keys(tree))
	var staged, gone []string
	for _, p := range paths {
		have, err := f.Look(p)
		if err != nil {
			return fmt.Errorf("look at %q: %w", p, plain(err))
		}
		if err := f.sweep(p); err != nil {
			return fmt.Errorf("sweep beside %q: %w", p, plain(err))
		}
		want := tree[p]
		switch {
		case want.Kind == agent.Vacant || want.Kind == agent.Absent:
			if have.Kind != agent.Absent {
				gone = append(gone, p)
			}
			continue
		case agent.Met(want, have):
			continue
		}
		if err := f.stage(p, want, have); err != nil {
			err = plain(err)
			for _, s := range append(staged, p) { // a full disk must not stay full because of us
				err = errors.Join(err, plain(f.sweep(s)))
			}
			return fmt.Errorf("write %q: %w", p, err)
		}
		if want.Kind != agent.Dir {
			staged = append(staged, p)
		}
	}
	return f.commit(tree, staged, gone)
}

func (f *Files) commit(tree agent.Tree, staged, gone []string) error {
	touched := map[string]bool{}
	for _, p := range slices.Backward(gone) {
		if err := f.remove(p, tree[p].Kind); err != nil {
			return fmt.Errorf("remove %q: %w", p, plain(err))
		}
		touched[path.Dir(p)] = true
	}
	for _, p := range staged {
		if err := f.rename(p); err != nil {
			return fmt.Errorf("write %q: %w", p, plain(err))
		}
		touched[path.Dir(p)] = true
	}
	for _, p := range slices.Sorted(maps.Keys(touched)) {
		dir, err := f.open(p, false)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went, too, and the directory above is in the list
		}
		if err == nil {
			err = f.syncDir(dir, p)
			dir.Close()
		}
		if err != nil {
			return fmt.Errorf("sync %q: %w", p, plain(err))
		}
	}
	return nil
}

// plain is an error without the names that we write under: they are nobody's business, and differ
// at each attempt, where an error that stays must read the same.
func plain(err error) error {
	var no syscall.Errno
	switch {
	case !errors.As(err, &no):
		return err
	case no == syscall.ENOSPC:
		return fmt.Errorf("%w: free space, and push again", no)
	}
	return no
}

// temp is the name under which a path's new content waits, in the same directory. It is always
// the same, so that the next Put finds what a killed one left.
func temp(p string) string {
	sum := sha256.Sum256([]byte(path.Base(p)))
	return ".sluice-" + hex.EncodeToString(sum[:8])
}

func (f *Files) sweep(p string) error {
	dir, err := f.open(path.Dir(p), false)
	var astray strayError
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, &astray) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, err := dir.Lstat(temp(p)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := f.trace("remove", path.Join(path.Dir(p), temp(p))); err != nil {
		return err
	}
	return dir.Remove(temp(p))
}

func (f *Files) stage(p string, want, have agent.Entry) error {
	dir, err := f.open(path.Dir(p), true)
	if err != nil {
		return err
	}
	defer dir.Close()
	switch {
	case want.Kind == agent.Dir:
		return f.putDir(dir, p, want, have)
	case have.Kind == agent.Dir:
		return fmt.Errorf("a directory stands there; remove it first")
	case want.Kind == agent.Symlink:
		if err := f.trace("create", p); err != nil {
			return err
		}
		if err := dir.Symlink(want.Target, temp(p)); err != nil {
			return err
		}
		return f.chown(p, want, func(uid, gid int) error { return dir.Lchown(temp(p), uid, gid) })
	case want.Kind == agent.Regular:
		return f.stageFile(dir, p, want)
	}
	return fmt.Errorf("cannot make %q", want.Kind)
}

func (f *Files) stageFile(dir *os.Root, p string, want agent.Entry) error {
	if !f.owners && want.Mode&0o400 == 0 {
		return fmt.Errorf("mode %04o: an ordinary user cannot keep a file that it may not read; run as root", want.Mode)
	}
	if err := f.trace("create", p); err != nil {
		return err
	}
	file, err := dir.OpenFile(temp(p), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := f.trace("write", p); err != nil {
		return err
	}
	if _, err := file.Write(want.Data); err != nil {
		return err
	}
	if err := f.chown(p, want, file.Chown); err != nil {
		return err
	}
	if err := f.trace("chmod", p); err != nil { // after chown, which takes setuid away
		return err
	}
	if err := file.Chmod(fileMode(want.Mode)); err != nil {
		return err
	}
	if err := f.trace("sync", p); err != nil {
		return err
	}
	return file.Sync()
}

func (f *Files) chown(p string, want agent.Entry, set func(uid, gid int) error) error {
	if !f.owners || want.UID == agent.Anyone && want.GID == agent.Anyone {
		return nil
	}
	if err := f.trace("chown", p); err != nil {
		return err
	}
	return set(want.UID, want.GID)
}

// putDir makes a directory, or gives it its mode and owner. It is the one thing that Put does in
// its first part that shows: an empty directory harms nobody.
func (f *Files) putDir(above *os.Root, p string, want, have agent.Entry) error {
	switch have.Kind {
	case agent.Absent:
		if err := f.mkdir(above, p); err != nil {
			return err
		}
	case agent.Dir:
	default:
		return fmt.Errorf("it is no directory; remove it first")
	}
	dir, target, err := f.step(above, path.Dir(p), path.Base(p), false)
	if err != nil {
		return err
	}
	if target != "" {
		return strayError{p, "is a symlink"}
	}
	defer dir.Close()
	self, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer self.Close()
	if err := f.chown(p, want, self.Chown); err != nil {
		return err
	}
	if err := f.trace("chmod", p); err != nil {
		return err
	}
	if err := self.Chmod(fileMode(want.Mode)); err != nil {
		return err
	}
	return self.Sync()
}

func (f *Files) rename(p string) error {
	dir, err := f.open(path.Dir(p), false)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := f.trace("rename", p); err != nil {
		return err
	}
	return dir.Rename(temp(p), path.Base(p))
}

// remove takes a path away. A directory goes only where Sluice made it, and only when it is empty.
func (f *Files) remove(p string, want agent.Kind) error {
	dir, err := f.open(path.Dir(p), false)
	var astray strayError
	if want == agent.Vacant && errors.As(err, &astray) {
		return nil // what stands there is not what Sluice made
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	info, err := dir.Lstat(path.Base(p))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case want == agent.Vacant && !info.IsDir():
		return nil // somebody else's by now
	case want == agent.Absent && info.IsDir():
		return fmt.Errorf("a directory stands there; remove it first")
	}
	if err := f.trace("remove", p); err != nil {
		return err
	}
	err = dir.Remove(path.Base(p))
	if want == agent.Vacant && (errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist)) {
		return nil // others have put something there
	}
	return err
}
