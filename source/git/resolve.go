package git

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// A revision is a name and steps back from it: main, v1.2, HEAD~3, 1a2b3c4, main^2~1.
var (
	revision = regexp.MustCompile(`^([^\s~^:?*\[\\]+)((?:[~^][0-9]{0,9})*)$`)
	step     = regexp.MustCompile(`[~^][0-9]*`)
	abbrev   = regexp.MustCompile(`^[0-9a-f]{4,40}$`)
)

// Resolve finds the commit (40 hexadecimal digits) that a revision means, in Git's own order: a
// full commit, a ref (HEAD, branch, tag, remote branch), an abbreviated commit of four digits or
// more; each with steps back, ~N and ^N.
func (r *Repo) Resolve(rev string) (string, error) {
	m := revision.FindStringSubmatch(rev)
	if m == nil {
		return "", fmt.Errorf("resolve revision %q: is not understood; give a branch, a tag or a commit, with ~N or ^N after it if need be", rev)
	}
	var found plumbing.Hash
	err := r.read(func(g *gogit.Repository) error {
		c, err := named(g, m[1])
		for _, s := range step.FindAllString(m[2], -1) {
			if err != nil {
				break
			}
			c, err = back(g, c, s)
		}
		if err == nil {
			found = c.Hash
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("resolve revision %q in %q: %w", rev, r.path, err)
	}
	return found.String(), nil
}

func named(g *gogit.Repository, name string) (*object.Commit, error) {
	if plumbing.IsHash(name) {
		return peel(g, plumbing.NewHash(name))
	}
	if name == "@" {
		name = "HEAD"
	}
	for _, rule := range plumbing.RefRevParseRules {
		full := plumbing.ReferenceName(fmt.Sprintf(rule, name))
		if strings.Contains(name, "..") || full.Validate() != nil {
			continue // a ref is a file: such a name could lead out of the repository
		}
		ref, err := storer.ResolveReference(g.Storer, full)
		if err == nil {
			return peel(g, ref.Hash())
		}
		if full == plumbing.HEAD && errors.Is(err, plumbing.ErrReferenceNotFound) {
			return nil, errors.New("the repository has no commit yet; commit something first")
		}
	}
	if abbrev.MatchString(name) {
		return abbreviated(g, name)
	}
	return nil, errors.New("no such branch, tag or commit; git branch -a and git tag list them")
}

// abbreviated finds the one commit whose name begins so.
func abbreviated(g *gogit.Repository, prefix string) (*object.Commit, error) {
	store, ok := g.Storer.(interface {
		HashesWithPrefix([]byte) ([]plumbing.Hash, error)
	})
	if !ok {
		return nil, errors.New("abbreviated commits cannot be looked up here; give all 40 digits")
	}
	whole, _ := hex.DecodeString(prefix[:len(prefix)&^1])
	hashes, err := store.HashesWithPrefix(whole)
	if err != nil {
		return nil, err
	}
	var found *object.Commit
	for _, h := range hashes {
		if !strings.HasPrefix(h.String(), prefix) {
			continue
		}
		c, err := g.CommitObject(h)
		if err != nil {
			continue // a file or a tree may begin so, too
		}
		if found != nil && found.Hash != c.Hash {
			return nil, errors.New("several commits begin so; give more digits")
		}
		found = c
	}
	if found == nil {
		return nil, errors.New("no commit begins so; git log lists them")
	}
	return found, nil
}

// peel follows annotated tags to their commit.
func peel(g *gogit.Repository, h plumbing.Hash) (*object.Commit, error) {
	for range 10 {
		tag, err := g.TagObject(h)
		if err != nil {
			break
		}
		h = tag.Target
	}
	c, err := g.CommitObject(h)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("the repository has no commit %s; if it is a shallow clone, run git fetch --unshallow", h)
	}
	return c, err
}

// back takes one step: ~N is N times the first parent, ^N is parent N, ^0 the commit itself.
func back(g *gogit.Repository, c *object.Commit, s string) (*object.Commit, error) {
	n := 1
	if len(s) > 1 {
		n, _ = strconv.Atoi(s[1:])
	}
	times, parent := n, 1
	if s[0] == '^' {
		times, parent = min(n, 1), n
	}
	for range times {
		if c.NumParents() < parent {
			return nil, fmt.Errorf("commit %s has %d parents; take fewer steps back", c.Hash, c.NumParents())
		}
		next, err := peel(g, c.ParentHashes[parent-1])
		if err != nil {
			return nil, err
		}
		c = next
	}
	return c, nil
}
