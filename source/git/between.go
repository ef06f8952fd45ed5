package git

import (
	"context"
	"slices"
)

// mostBetween bounds what Between lists.
const mostBetween = 50

// Between lists what the branch went through from older to newer, by first parents: oldest
// first, without either end. It is empty when older is not among the last 50, and after a
// force-push, which went through nothing.
func (s *Source) Between(ctx context.Context, older, newer string) ([]string, error) {
	var found []string
	err := s.withCommits(ctx, func() (err error) {
		found, err = s.repo.between(older, newer)
		return err
	}, newer)
	return found, err
}

// Between is what Source.Between lists, of a repository on disk.
func (r *Repo) Between(older, newer string) ([]string, error) { return r.between(older, newer) }

func (r *Repo) between(older, newer string) ([]string, error) {
	hash, err := parseHash(newer)
	if err != nil {
		return nil, err
	}
	var found []string
	for range mostBetween + 1 {
		c, err := r.commit(hash)
		if err != nil {
			return nil, err
		}
		if len(c.ParentHashes) == 0 {
			return nil, nil
		}
		hash = c.ParentHashes[0]
		if hash.String() == older {
			slices.Reverse(found)
			return found, nil
		}
		found = append(found, hash.String())
	}
	return nil, nil
}
