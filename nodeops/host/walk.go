package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// strayError says that a path leads through something that is not followed.
type strayError struct{ path, why string }

func (e strayError) Error() string { return e.path + ": " + e.why }

// maxLinks is how many symlinked directories a path may lead through.
const maxLinks = 16

// open opens a directory by its path. A symlink on the way is followed only when it is relative,
// stays beneath the root, and belongs to root or to us: whoever owns a home directory must not
// lead the agent elsewhere. With make, what is missing is made, 0755.
func (f *Files) open(dir string, make bool) (*os.Root, error) {
	if at, err, known := f.straight(dir); known && (err == nil || !make) {
		return at, err
	}
	rest := dir
	for range maxLinks {
		at, next, err := f.walk(rest, make)
		if err != nil {
			var stray strayError
			if errors.As(err, &stray) {
				return nil, strayError{dir, stray.why}
			}
			return nil, err
		}
		if next == "" {
			return at, nil
		}
		rest = next
	}
	return nil, strayError{dir, "leads through too many symlinks"}
}

// straight opens a directory to which no symlink leads, in one step; this is nearly every one,
// and a scan of the whole tree opens hundreds. Whatever else it meets is not known to it.
func (f *Files) straight(dir string) (at *os.Root, err error, known bool) {
	rel := strings.Trim(dir, "/")
	if rel == "" {
		rel = "."
	}
	fd, err := unix.Openat2(int(f.self.Fd()), rel, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err, errors.Is(err, fs.ErrNotExist)
	}
	defer unix.Close(fd)
	at, err = os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
	return at, err, err == nil
}

// walk goes down a path until its end, or to the first symlink, whose resolution is next.
func (f *Files) walk(dir string, make bool) (at *os.Root, next string, err error) {
	at, err = f.root.OpenRoot(".")
	if err != nil {
		return nil, "", err
	}
	done := ""
	for rest := strings.Trim(dir, "/"); rest != ""; {
		var base string
		base, rest, _ = strings.Cut(rest, "/")
		sub, target, err := f.step(at, done, base, make)
		at.Close()
		switch {
		case err != nil:
			return nil, "", err
		case target == "":
		case path.IsAbs(target) || escapes(path.Join(done, target)):
			return nil, "", strayError{dir, fmt.Sprintf("%s is a symlink to %q, out of the root", path.Join("/", done, base), target)}
		default:
			return nil, "/" + path.Join(done, target, rest), nil
		}
		at, done = sub, path.Join(done, base)
	}
	return at, "", nil
}

func escapes(rel string) bool { return rel == ".." || strings.HasPrefix(rel, "../") }

// step enters one directory, or reads the symlink that stands there.
func (f *Files) step(at *os.Root, done, base string, make bool) (sub *os.Root, target string, err error) {
	p := path.Join("/", done, base)
	info, err := at.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) && make {
		if err := f.mkdir(at, p); err != nil {
			return nil, "", err
		}
		info, err = at.Lstat(base)
	}
	if err != nil {
		return nil, "", err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
			return nil, "", strayError{p, p + " is somebody's symlink"}
		}
		target, err = at.Readlink(base)
		return nil, target, err
	case !info.IsDir():
		return nil, "", strayError{p, p + " is no directory"}
	}
	sub, err = at.OpenRoot(base)
	if err != nil {
		return nil, "", err
	}
	inside, err := sub.Stat(".")
	if err == nil && !os.SameFile(info, inside) {
		err = strayError{p, p + " changed while it was looked at"}
	}
	if err != nil {
		sub.Close()
		return nil, "", err
	}
	return sub, "", nil
}

// mkdir makes a directory that outlives a power cut. The mode does not depend on the umask.
func (f *Files) mkdir(at *os.Root, p string) error {
	if err := f.trace("mkdir", p); err != nil {
		return err
	}
	if err := at.Mkdir(path.Base(p), 0o755); err != nil {
		return err
	}
	if err := at.Chmod(path.Base(p), 0o755); err != nil {
		return err
	}
	return f.syncDir(at, path.Dir(p))
}

func (f *Files) syncDir(at *os.Root, p string) error {
	if err := f.trace("syncdir", p); err != nil {
		return err
	}
	dir, err := at.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
