package kustomize

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"syscall"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/sluice-gitops/sluice/render"
)

// What one tree may cost before it is refused.
const (
	maxFile  = 4 << 20  // bytes; a MachineConfig in a cluster cannot have more than 1.5 MB
	maxTotal = 64 << 20 // bytes of all files that the builds read
	maxLoads = 20000    // files and directories, each counted as often as kustomize would read it
)

// scan reads every file that a kustomization asks for, before kustomize runs, and copies it to
// memory. Kustomize then sees that copy and nothing else. It fetches whatever looks like an
// address, under no restriction that it offers, so anything that does is refused here.
type scan struct {
	tree   fs.FS
	memory filesys.FileSystem
	files  map[string][]byte // path in the tree -> contents
	cost   map[string]int    // directory -> loads below it; 0 while it is being scanned
	plain  map[string]bool   // paths that are there and are no links
	total  int64
	errs   render.Errors
	broken error // the tree itself could not be read; no fault of the authors
}

func newScan(tree fs.FS) *scan {
	return &scan{tree: tree, memory: filesys.MakeFsInMemory(), files: map[string][]byte{}, cost: map[string]int{}, plain: map[string]bool{}}
}

func (s *scan) fail(file, field, format string, args ...any) {
	s.errs = append(s.errs, render.Error{File: file, Field: field, Why: fmt.Sprintf(format, args...)})
}

var account = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@`)

// remote says whether kustomize might take a path for the address of a file or of a repository.
func remote(p string) bool {
	low := strings.ToLower(p)
	return strings.Contains(low, "://") || strings.Contains(low, "//") || strings.Contains(low, "?") ||
		strings.HasPrefix(low, "git::") || strings.HasPrefix(low, "github.com/") ||
		strings.HasPrefix(low, "github.com:") || account.MatchString(p)
}

// resolve is the place in the tree that a path in a kustomization of dir means, or why it means
// none.
func (s *scan) resolve(dir, p string) (string, string) {
	switch {
	case p == "":
		return "", "is empty"
	case remote(p):
		return "", fmt.Sprintf("%q looks like a remote address: only files of this repository are read, so copy it into the repository", p)
	case path.IsAbs(p):
		return "", fmt.Sprintf("%q is absolute: write it relative to this file", p)
	}
	at := path.Join(dir, p)
	if at == ".." || strings.HasPrefix(at, "../") {
		return "", fmt.Sprintf("%q lies outside the repository", p)
	}
	return at, s.walkable(at)
}

// walkable says why a path cannot be read: some part of it is absent or a symbolic link.
func (s *scan) walkable(at string) string {
	if !fs.ValidPath(at) {
		return fmt.Sprintf("%q is no path inside the repository", at)
	}
	if at == "." {
		return ""
	}
	for i := range len(at) + 1 {
		if i < len(at) && at[i] != '/' {
			continue
		}
		if s.plain[at[:i]] {
			continue
		}
		info, err := fs.Lstat(s.tree, at[:i])
		switch {
		case err != nil:
			s.trouble(at, err)
			return fmt.Sprintf("%q is not in the repository", at)
		case info.Mode()&fs.ModeSymlink != 0:
			return fmt.Sprintf("%q is a symbolic link: links are not followed, put the file itself there", at[:i])
		}
		s.plain[at[:i]] = true
	}
	return ""
}

// trouble keeps the first error that says nothing about the authors.
func (s *scan) trouble(at string, err error) {
	if s.broken == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		s.broken = fmt.Errorf("read %q: %w", at, err)
	}
}

func (s *scan) isDir(at string) bool {
	info, err := fs.Stat(s.tree, at)
	return err == nil && info.IsDir()
}

// load copies one file to memory, once. A mistake is laid at file and field. With parse it must
// be YAML that is safe to expand.
func (s *scan) load(at, file, field string, parse bool) bool {
	if _, done := s.files[at]; done {
		return true
	}
	if why := s.walkable(at); why != "" {
		s.fail(file, field, "%s", why)
		return false
	}
	contents, why := s.read(at)
	if why != "" {
		s.fail(at, "", "%s", why)
		return false
	}
	if parse {
		if err := inspect(contents); err != nil {
			s.fail(at, "", "%v", err)
			return false
		}
	}
	s.files[at] = contents
	return s.remember(at, contents)
}

func (s *scan) remember(at string, contents []byte) bool {
	if err := s.memory.WriteFile("/"+at, contents); err != nil {
		s.fail(at, "", "%v", err)
		return false
	}
	return true
}

func (s *scan) read(at string) (contents []byte, why string) {
	tooLarge := fmt.Sprintf("is larger than %d MiB: a MachineConfig cannot hold that much", maxFile>>20)
	f, err := s.tree.Open(at)
	if err != nil {
		s.trouble(at, err)
		return nil, "cannot be opened"
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		s.trouble(at, err)
		return nil, "cannot be read"
	case !info.Mode().IsRegular():
		return nil, "is not a regular file"
	case info.Size() > maxFile:
		return nil, tooLarge
	}
	if contents, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err != nil {
		s.trouble(at, err)
		return nil, "cannot be read"
	}
	if len(contents) > maxFile {
		return nil, tooLarge
	}
	if s.total += int64(len(contents)); s.total > maxTotal {
		return nil, fmt.Sprintf("the files of the builds are larger than %d MiB together", maxTotal>>20)
	}
	return contents, ""
}

// kustomizationIn is the kustomization file of a directory, or "".
func (s *scan) kustomizationIn(dir string) string {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if at := path.Join(dir, name); s.walkableFile(at) {
			return at
		}
	}
	return ""
}

// walkableFile takes a link for a file, so that it is refused where it is read and not passed over.
func (s *scan) walkableFile(at string) bool {
	info, err := fs.Lstat(s.tree, at)
	return err == nil && !info.IsDir()
}
