package git

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// maxObjects is how many objects one pack may bring; each costs memory while it is indexed.
const maxObjects = 5_000_000

// intake takes one pack into a repository: into a file of its own first, up to the limits, then
// weighed without unpacking it into memory, then indexed, then named. A crash before the last
// step leaves only a temporary file.
type intake struct {
	file   *os.File
	left   int64
	limits Limits
}

func newIntake(repo string, l Limits) (*intake, error) {
	dir := filepath.Join(repo, "objects", "pack")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "tmp_in_")
	if err != nil {
		return nil, err
	}
	return &intake{file: f, left: l.Pack, limits: l}, nil
}

// discard removes what has not been named.
func (in *intake) discard() {
	in.file.Close()
	os.Remove(in.file.Name())
	os.Remove(in.file.Name() + ".idx")
}

func (in *intake) Write(p []byte) (int, error) {
	if in.left -= int64(len(p)); in.left < 0 {
		return 0, overLimit(fmt.Sprintf("the history to fetch is larger than %d bytes; raise the limit, or take large files out of the repository", in.limits.Pack))
	}
	return in.file.Write(p)
}

// keep checks the pack, writes its index, and gives both their names.
func (in *intake) keep(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil { // the parser below reads what a stranger wrote
			err = fmt.Errorf("index pack: malformed object: %v", p)
		}
	}()
	if err := in.weigh(ctx); err != nil {
		return fmt.Errorf("check pack: %w", err)
	}
	if _, err := in.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	index := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(&endingFile{ctx.Err, in.file}), index)
	if err != nil {
		return fmt.Errorf("index pack: %w", err)
	}
	sum, err := parser.Parse()
	if err != nil {
		return fmt.Errorf("index pack: %w", err)
	}
	idx, err := index.Index()
	if err != nil {
		return fmt.Errorf("index pack: %w", err)
	}
	if err := writeIndex(in.file.Name()+".idx", idx); err != nil {
		return err
	}
	if err := in.file.Sync(); err != nil {
		return err
	}
	name := filepath.Join(filepath.Dir(in.file.Name()), "pack-"+sum.String())
	// The index first: a pack counts from the moment that it has its name.
	if err := os.Rename(in.file.Name()+".idx", name+".idx"); err != nil {
		return err
	}
	return os.Rename(in.file.Name(), name+".pack")
}

func writeIndex(path string, idx *idxfile.MemoryIndex) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := idxfile.NewEncoder(f).Encode(idx); err != nil {
		return err
	}
	return f.Sync()
}

// weigh adds up what the pack unpacks to, before anything is unpacked into memory: a few
// kilobytes can hold gigabytes, and a delta of ten bytes can make a file of any size.
func (in *intake) weigh(ctx context.Context) error {
	if _, err := in.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	scan := packfile.NewScanner(&endingFile{ctx.Err, in.file})
	_, count, err := scan.Header()
	if err != nil {
		return err
	}
	if count > maxObjects {
		return overLimit(fmt.Sprintf("the pack has %d objects, more than %d", count, maxObjects))
	}
	var total int64
	for range count {
		h, err := scan.NextObjectHeader()
		if err != nil {
			return err
		}
		size := h.Length
		head := &prefix{}
		if size >= 0 && size <= in.limits.Object {
			if _, _, err := scan.NextObject(head); err != nil {
				return err
			}
			if h.Type.IsDelta() {
				size = max(size, head.target())
			}
		}
		if size < 0 || size > in.limits.Object {
			return overLimit(fmt.Sprintf("the history holds a file of %d bytes, more than %d; raise the limit, or take the file out of the history", size, in.limits.Object))
		}
		if total += size; total > in.limits.Unpacked {
			return overLimit(fmt.Sprintf("the history unpacks to more than %d bytes; raise the limit", in.limits.Unpacked))
		}
	}
	return nil
}

// prefix keeps the first bytes of a delta: the sizes of its base and of what it makes, seven bits
// a byte, lowest first.
type prefix struct{ b []byte }

func (p *prefix) Write(b []byte) (int, error) {
	p.b = append(p.b, b[:min(len(b), 2*binary.MaxVarintLen64-len(p.b))]...)
	return len(b), nil
}

func (p *prefix) target() int64 {
	_, n := binary.Uvarint(p.b)
	if n <= 0 {
		return -1
	}
	size, n := binary.Uvarint(p.b[n:])
	if n <= 0 || size > 1<<62 {
		return 1 << 62 // malformed or absurd: over any limit
	}
	return int64(size)
}

// endingFile ends a long parse when its context ends.
type endingFile struct {
	ended func() error
	*os.File
}

func (f *endingFile) Read(p []byte) (int, error) {
	if err := f.ended(); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

// checkMirror finds the damage that a crash or a bad disk leaves: a pack whose sum is wrong, one
// without an index of the right sum, a HEAD that git itself would not take. What is missing as a
// whole is found by whoever reads it.
func checkMirror(repo string) error {
	head, err := os.ReadFile(filepath.Join(repo, "HEAD"))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(head), "ref: refs/heads/") {
		return fmt.Errorf("check %q: HEAD names no branch", repo)
	}
	return checkSums(repo)
}

func checkSums(repo string) error {
	packs, err := filepath.Glob(filepath.Join(repo, "objects", "pack", "pack-*.pack"))
	if err != nil {
		return err
	}
	for _, p := range packs {
		for _, name := range []string{p, strings.TrimSuffix(p, ".pack") + ".idx"} {
			if err := checkSum(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSum compares a file with the SHA-1 in its last 20 bytes, as packs and indexes have it.
func checkSum(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	sum, want := sha1.New(), make([]byte, sha1.Size)
	if st.Size() <= sha1.Size {
		return fmt.Errorf("check %q: is cut off", name)
	}
	if _, err := io.CopyN(sum, f, st.Size()-sha1.Size); err != nil {
		return err
	}
	if _, err := io.ReadFull(f, want); err != nil {
		return err
	}
	if string(sum.Sum(nil)) != string(want) {
		return fmt.Errorf("check %q: its content does not match its sum", name)
	}
	return nil
}
