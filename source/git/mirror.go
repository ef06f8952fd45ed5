package git

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/sluice-gitops/sluice/source"
)

// What lies in Dir. Nothing else in it is touched.
const (
	mirrorName   = "mirror.git"    // the bare mirror
	sightingName = "sighting.json" // what the last good Look saw
	nextPattern  = "next-*"        // a mirror in the making, or a sighting
	oldPattern   = "old-*"         // a mirror to be removed
)

// begin checks the fields, clears up after a crash, and recalls the last sighting; once.
func (s *Source) begin() error {
	s.boot.Lock()
	defer s.boot.Unlock()
	if s.ready {
		return nil
	}
	r, err := s.dial()
	if err != nil {
		return err
	}
	if s.Dir == "" {
		return errors.New("source dir: is empty; name a folder for the mirror of the repository")
	}
	dir, err := filepath.Abs(s.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("make source dir %q: %w", s.Dir, err)
	}
	path := filepath.Join(dir, mirrorName)
	for _, p := range []string{
		filepath.Join(dir, nextPattern), filepath.Join(dir, oldPattern),
		filepath.Join(path, "objects", "pack", "tmp_in_*"),
	} {
		left, _ := filepath.Glob(p)
		for _, l := range left {
			os.RemoveAll(l) // what stays costs space only
		}
	}
	s.remote, s.unread = r, make(map[string]error)
	s.repo = &Repo{path: path, limits: s.Limits.withDefaults(), broken: func() { s.broken.Store(true) }}
	s.recall(dir)
	s.ready = true
	return nil
}

// recall takes up the last sighting, if it was of this repository and branch, and looks whether
// the mirror is still what it was. A mirror of another repository is treated as damaged.
func (s *Source) recall(dir string) {
	var seen source.Sighting
	data, err := os.ReadFile(filepath.Join(dir, sightingName))
	if err == nil {
		err = json.Unmarshal(data, &seen)
	}
	known := err == nil && plumbing.IsHash(seen.Head.Commit)
	if known && seen.Head.Repo == s.URL && seen.Head.Ref == "refs/heads/"+s.Branch {
		s.last = seen
	}
	if !exists(s.repo.path) {
		return
	}
	if known && seen.Head.Repo != s.URL || checkMirror(s.repo.path) != nil {
		s.broken.Store(true)
	}
}

// remember makes seen the last sighting, on disk first.
func (s *Source) remember(seen source.Sighting) error {
	dir := filepath.Dir(s.repo.path)
	same := seen.Head == s.last.Head && maps.Equal(seen.Proposals, s.last.Proposals)
	if same && exists(filepath.Join(dir, sightingName)) {
		return nil
	}
	data, err := json.Marshal(seen)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, nextPattern)
	if err != nil {
		return fmt.Errorf("remember sighting: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, sightingName))
	}
	if err != nil {
		return fmt.Errorf("remember sighting: %w", err)
	}
	s.last = seen
	return nil
}

// renew clones the branch into a new mirror and only then puts it in the place of the old one:
// while the remote is away, even a damaged mirror is better than none.
func (s *Source) renew(ctx context.Context, head plumbing.Hash) error {
	dir := filepath.Dir(s.repo.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make mirror: %w", err)
	}
	next, err := os.MkdirTemp(dir, nextPattern)
	if err != nil {
		return fmt.Errorf("make mirror: %w", err)
	}
	defer os.RemoveAll(next)
	if _, err := gogit.PlainInit(next, true); err != nil {
		return fmt.Errorf("make mirror: %w", err)
	}
	if err := s.fetch(ctx, next, []plumbing.Hash{head}, nil); err != nil {
		return err
	}
	if err := s.repo.replace(next); err != nil {
		return fmt.Errorf("replace mirror: %w", err)
	}
	s.broken.Store(false)
	return nil
}

// replace puts another repository in this one's place; whoever reads waits meanwhile.
func (r *Repo) replace(next string) error {
	old, err := os.MkdirTemp(filepath.Dir(r.path), oldPattern)
	if err != nil {
		return err
	}
	defer os.RemoveAll(old)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.git = nil
	err = os.Rename(r.path, filepath.Join(old, mirrorName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(next, r.path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// maxPacks is how many fetches a mirror takes before it is made afresh: each leaves a pack, and
// every read looks through all of them.
const maxPacks = 100

// crowded says that the mirror has grown slow or large, by many fetches or by discarded history.
func (r *Repo) crowded() bool {
	packs, _ := filepath.Glob(filepath.Join(r.path, "objects", "pack", "pack-*.pack"))
	var size int64
	for _, p := range packs {
		if st, err := os.Stat(p); err == nil {
			size += st.Size()
		}
	}
	return len(packs) >= maxPacks || size > 4*r.limits.Pack
}

// recent lists the commits of tips that are there, and of the history behind them, breadth first,
// up to most. What cannot be read is left out: it only makes a fetch larger.
func (r *Repo) recent(tips []plumbing.Hash, most int) []plumbing.Hash {
	var found []plumbing.Hash
	queued := make(map[plumbing.Hash]bool)
	for queue := tips; len(queue) > 0 && len(found) < most; queue = queue[1:] {
		if queued[queue[0]] {
			continue
		}
		queued[queue[0]] = true
		if ok, err := r.has(queue[0]); err != nil || !ok {
			continue
		}
		c, err := r.commit(queue[0])
		if err != nil {
			continue
		}
		found = append(found, c.Hash)
		queue = append(queue, c.ParentHashes...)
	}
	return found
}

func clone(s source.Sighting) source.Sighting {
	s.Proposals = maps.Clone(s.Proposals)
	return s
}

// mask makes an error fit for logs and statuses: one line of bounded length, without credentials.
func (s *Source) mask(err error) error {
	if err == nil {
		return nil
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, err.Error())
	basic := base64.StdEncoding.EncodeToString([]byte(s.Username + ":" + s.Password))
	for _, secret := range []string{s.Password, s.Token, basic} {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	const most = 1000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " ..."
	}
	if text == err.Error() {
		return err
	}
	return &masked{text: text, err: err}
}

// masked keeps errors.Is working, and hands the unmasked error to nobody.
type masked struct {
	text string
	err  error
}

func (m *masked) Error() string        { return m.text }
func (m *masked) Is(target error) bool { return errors.Is(m.err, target) }
