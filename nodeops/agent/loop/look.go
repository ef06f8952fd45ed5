package loop

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
)

// sight is all that was seen at one look.
type sight struct {
	agent.Local
	target        machine.Config
	silent        error                   // why the order's config did not come
	journal, kept []byte                  // as stored; nil when they are not
	stored        map[machine.Digest]bool // configs that stand whole beside the journal
}

func (l *Loop) look(ctx context.Context, want nodeops.Order) (sight, error) {
	s := sight{Local: agent.Local{Configs: map[machine.Digest]machine.Config{"": {}}, Now: l.Now()}, stored: map[machine.Digest]bool{}}
	var err error
	if s.BootID, err = l.OS.BootID(ctx); err != nil {
		return s, fmt.Errorf("read boot id: %w", err)
	}
	if s.Booted, err = l.OS.Booted(ctx); err != nil {
		return s, fmt.Errorf("read what is booted: %w", err)
	}
	if l.askedIn == s.BootID {
		s.Waiting, s.Denied = s.Now.Sub(l.askedAt) < Patience, l.denied
	}
	if err := l.recollect(&s); err != nil {
		return s, err
	}
	l.configs(ctx, &s, want)
	s.Fresh = s.Fresh || l.Wary && s.Lost != ""
	if len(s.Kept.Originals)+len(s.Kept.Configs) == 0 {
		s.Kept.Base = s.Booted // nothing was ever touched
	}
	return s, l.survey(&s)
}

// survey looks at every path that a config here has to do with.
func (l *Loop) survey(s *sight) (err error) {
	s.Facts = l.facts(s.Kept)
	trees := []agent.Tree{s.Kept.Originals}
	for _, c := range s.Configs {
		t, _ := agent.TreeOf(c, s.Facts) // Decide says what is wrong with it
		trees = append(trees, t)
	}
	s.Disk = agent.Tree{}
	for _, p := range agent.Paths(trees...) {
		if s.Disk[p], err = l.Files.Look(p); err != nil {
			return fmt.Errorf("look at %q: %w", p, err)
		}
	}
	return nil
}

// Verify is how the node differs from a config, whatever config it is at. Nothing is written.
func (l *Loop) Verify(ctx context.Context, c machine.Config) ([]nodeops.Drift, error) {
	d := c.Digest()
	s := sight{Local: agent.Local{Configs: map[machine.Digest]machine.Config{d: c}}}
	var err error
	if s.Booted, err = l.OS.Booted(ctx); err != nil {
		return nil, fmt.Errorf("read what is booted: %w", err)
	}
	if err := l.recollect(&s); err != nil {
		return nil, err
	}
	s.Facts = l.facts(s.Kept)
	if _, err := agent.TreeOf(c, s.Facts); err != nil {
		return nil, err
	}
	if err := l.survey(&s); err != nil {
		return nil, err
	}
	return s.Drift(d), nil
}

// Generation is that of the newest order which was taken up; 0 is none, or one that is lost.
func (l *Loop) Generation() (uint64, error) {
	var s sight
	err := l.recollect(&s)
	return s.Journal.Order.Generation, err
}

// recollect reads the journal and what was kept. What cannot be read is said in Lost.
func (l *Loop) recollect(s *sight) error {
	journal, err := l.Files.Look(journalPath)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	s.Fresh = l.Wary && journal.Kind == agent.Absent
	kept, err := l.Files.Look(keptPath)
	if err != nil {
		return fmt.Errorf("read originals: %w", err)
	}
	if kept.Kind != agent.Absent {
		s.kept = kept.Data
		if err := agent.Unseal(kept.Data, &s.Kept); err != nil {
			s.Lost, s.Blind = fmt.Sprintf("%s %v", keptPath, err), true
			return nil
		}
	}
	switch {
	case journal.Kind == agent.Absent && kept.Kind != agent.Absent:
		// The first order may have been killed between the two.
		if s.Lost = ""; len(s.Kept.New) != len(s.Kept.Originals) {
			s.Lost = journalPath + " is missing"
		}
	case journal.Kind != agent.Absent:
		if err := agent.Unseal(journal.Data, &s.Journal); err != nil {
			s.Lost = fmt.Sprintf("%s %v", journalPath, err)
			return nil
		}
		s.journal = journal.Data
		if j := s.Journal; kept.Kind == agent.Absent && (j.Stage != agent.Rest || j.Current != "") {
			s.Lost, s.Blind = keptPath+" is missing", true
		}
	}
	if s.Journal.Stage == agent.Rest && s.Lost == "" {
		s.Kept = s.Kept.AtRest()
	}
	return nil
}

// configs finds the configs that the journal names, and the order's where it is news.
func (l *Loop) configs(ctx context.Context, s *sight, want nodeops.Order) {
	j := s.Journal
	needed := append([]machine.Digest{j.Current}, j.Past...)
	if j.Stage != agent.Rest {
		needed = append(needed, j.Goal)
	}
	if s.Lost != "" {
		for _, d := range s.Kept.Configs {
			if c, ok := l.storedConfig(d); ok {
				s.Configs[d], s.stored[d] = c, true
			}
		}
	}
	for _, d := range needed {
		if c, ok := l.storedConfig(d); ok {
			s.Configs[d], s.stored[d] = c, d != ""
			continue
		}
		c, unfit, err := l.fetch(ctx, d)
		if err != nil {
			unfit = err.Error()
		}
		if unfit != "" {
			s.Lost = configPath(d) + " is not readable, and did not come anew: " + unfit
			continue
		}
		s.Configs[d] = c
	}
	if s.Lost == "" && (s.Fresh || !j.Hears(want)) {
		return
	}
	if c, ok := s.Configs[want.Config]; ok {
		s.target = c
		return
	}
	if s.target, s.Unfit, s.silent = l.fetch(ctx, want.Config); s.Unfit == "" && s.silent == nil {
		s.Configs[want.Config] = s.target
	}
}

// storedConfig reads a config that stands beside the journal; a damaged one counts as none.
func (l *Loop) storedConfig(d machine.Digest) (c machine.Config, ok bool) {
	if d == "" {
		return c, true
	}
	if !isDigest(d) {
		return c, false
	}
	e, err := l.Files.Look(configPath(d))
	if err != nil || e.Kind != agent.Regular || json.Unmarshal(e.Data, &c) != nil {
		return machine.Config{}, false
	}
	return c, c.Digest() == d
}

// fetch gets a config from the inbox. It is unfit when it is not what its digest says.
func (l *Loop) fetch(ctx context.Context, d machine.Digest) (c machine.Config, unfit string, err error) {
	if !isDigest(d) {
		return c, fmt.Sprintf("config %q: is not a digest of 64 hexadecimal digits", d), nil
	}
	c, err = l.Inbox.Config(ctx, d)
	if err != nil {
		return c, "", fmt.Errorf("fetch config %s: %w", d.Short(), err)
	}
	if got := c.Digest(); got != d {
		return c, fmt.Sprintf("config %s: what came is config %s; nothing of it was used", d.Short(), got.Short()), nil
	}
	return c, "", nil
}

func isDigest(d machine.Digest) bool {
	return len(d) == 64 && strings.Trim(string(d), "0123456789abcdef") == ""
}

// unitDirs are where systemd looks for units, first the strongest.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// facts reads what the OS says. What Sluice has put in the place of a unit of the OS does not
// count: it is the original that is shipped.
func (l *Loop) facts(kept agent.Kept) agent.Facts {
	var f agent.Facts
	if passwd, err := l.Files.Look("/etc/passwd"); err == nil && passwd.Kind == agent.Regular {
		group, _ := l.Files.Look("/etc/group") // none: no group has a name
		f.Users, f.Groups = agent.ReadAccounts(string(passwd.Data), string(group.Data))
	}
	look := func(p string) agent.Entry {
		if e, touched := kept.Originals[p]; touched {
			return e
		}
		e, _ := l.Files.Look(p) // what cannot be read is not shipped
		return e
	}
	f.Unit = func(name string) (string, string) {
		for _, dir := range unitDirs {
			p := path.Join(dir, name)
			e := look(p)
			if e.Kind == agent.Symlink && !strings.Contains(e.Target, "/") {
				e = look(path.Join(dir, e.Target))
			}
			if e.Kind == agent.Regular {
				return p, string(e.Data)
			}
		}
		return "", ""
	}
	return f
}
