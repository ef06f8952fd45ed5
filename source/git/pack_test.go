package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	gogit "github.com/go-git/go-git/v5"
)

// pack builds a pack of one blob and one delta upon it, with the given delta.
func pack(t testing.TB, count uint32, delta []byte) []byte {
	t.Helper()
	deflate := func(b []byte) []byte {
		var out bytes.Buffer
		z := zlib.NewWriter(&out)
		z.Write(b)
		z.Close()
		return out.Bytes()
	}
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count)
	base := append([]byte{3<<4 | 4}, deflate([]byte("base"))...)
	b = append(b, base...)
	b = append(b, byte(6<<4|len(delta)), byte(len(base)))
	b = append(b, deflate(delta)...)
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

func TestHostilePacks(t *testing.T) {
	t.Parallel()
	huge := append([]byte{4}, binary.AppendUvarint(nil, 1<<40)...)
	good := []byte{4, 2, 0x90, 2} // of 4 bytes make 2: copy 2 from the start
	wrongSum := pack(t, 2, good)
	wrongSum[len(wrongSum)-1]++
	for name, tt := range map[string]struct {
		pack      []byte
		ok, limit bool
	}{
		"well-formed":                    {pack: pack(t, 2, good), ok: true},
		"ten bytes that make a terabyte": {pack: pack(t, 2, append(huge, 0x90, 2)), limit: true},
		"a delta without sizes":          {pack: pack(t, 2, []byte{0xff})},
		"an empty delta":                 {pack: pack(t, 2, nil)},
		"four thousand million objects":  {pack: pack(t, 1<<32-1, good), limit: true},
		"more objects than there are":    {pack: pack(t, 3, good)},
		"the wrong sum":                  {pack: wrongSum},
		"nothing":                        {},
		"no pack":                        {pack: []byte("<html><body>hello</body></html>")},
		"cut off":                        {pack: pack(t, 2, good)[:30]},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := take(dir, tt.pack)
			if (err == nil) != tt.ok || errors.As(err, new(overLimit)) != tt.limit {
				t.Errorf("error %v, want none: %v, over the limit: %v", err, tt.ok, tt.limit)
			}
			left, _ := filepath.Glob(filepath.Join(dir, "objects", "pack", "*"))
			if want := map[bool]int{true: 2}[tt.ok]; len(left) != want {
				t.Errorf("left behind %q, want %d files", left, want)
			}
			if tt.ok && checkSums(dir) != nil {
				t.Errorf("what was kept does not pass the check: %v", checkSums(dir))
			}
		})
	}
}

func take(dir string, pack []byte) error {
	in, err := newIntake(dir, Limits{Object: 1 << 20, Unpacked: 4 << 20}.withDefaults())
	if err != nil {
		return err
	}
	defer in.discard()
	if _, err := in.Write(pack); err != nil {
		return err
	}
	return in.keep(context.Background())
}

func TestMissingStoreFilesAreNoMissingFiles(t *testing.T) {
	t.Parallel()
	r := &Repo{path: t.TempDir(), limits: Limits{}.withDefaults()}
	err := r.read(func(*gogit.Repository) error { return nil })
	lost := storeError{&fs.PathError{Op: "open", Path: "objects/pack", Err: fs.ErrNotExist}}
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(lost, fs.ErrNotExist) {
		t.Errorf("%v, %v: a reader would take it for a file that the commit does not have", err, lost)
	}
}

func FuzzPack(f *testing.F) {
	f.Add(pack(f, 2, []byte{4, 2, 0x90, 2}))
	f.Add(pack(f, 2, append(append([]byte{4}, binary.AppendUvarint(nil, 1<<40)...), 0x90, 2)))
	f.Add(pack(f, 2, []byte{0xff}))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 20 { // a right sum, so that the parser is reached
			sum := sha1.Sum(data[:len(data)-20])
			data = append(data[:len(data)-20:len(data)-20], sum[:]...)
		}
		if take(dir, data) == nil && checkSums(dir) != nil {
			t.Errorf("kept a pack that does not pass the check: %v", checkSums(dir))
		}
	})
}
