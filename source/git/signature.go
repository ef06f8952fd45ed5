package git

import (
	"bytes"
	"context"
	"io"
	"strings"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
)

// Signed is what the signature of a commit covers, byte for byte, and the signature itself,
// armored; "" when the commit has none. Where it has several, they come one after the other.
func (s *Source) Signed(ctx context.Context, commit string) (payload []byte, signature string, err error) {
	err = s.withCommits(ctx, func() (err error) {
		payload, signature, err = s.repo.Signed(commit)
		return err
	}, commit)
	return payload, signature, err
}

// Signed is as Source.Signed.
func (r *Repo) Signed(commit string) (payload []byte, signature string, err error) {
	hash, err := parseHash(commit)
	if err != nil {
		return nil, "", err
	}
	if _, err := r.commit(hash); err != nil { // bounds its size
		return nil, "", err
	}
	var raw []byte
	err = r.read(func(g *gogit.Repository) error {
		object, err := g.Storer.EncodedObject(plumbing.CommitObject, hash)
		if err != nil {
			return err
		}
		in, err := object.Reader()
		if err != nil {
			return err
		}
		defer in.Close()
		raw, err = io.ReadAll(in)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	payload, signature = unsigned(raw)
	return payload, signature, nil
}

// unsigned takes the signatures out of the header of a commit, as git does before it verifies. A
// header goes on in the lines that begin with a blank; the message begins at the first empty line.
func unsigned(raw []byte) (payload []byte, signature string) {
	var armored strings.Builder
	var into *strings.Builder // the signature of this repository's hash; nil: none, or that of another
	inside := false
	for len(raw) > 0 {
		line := raw
		if end := bytes.IndexByte(raw, '\n'); end >= 0 {
			line = raw[:end+1]
		}
		if line[0] == '\n' {
			return append(payload, raw...), armored.String()
		}
		raw = raw[len(line):]
		text, goesOn := bytes.CutPrefix(line, []byte(" "))
		if !goesOn {
			into, inside = nil, false
			if rest, ok := bytes.CutPrefix(line, []byte("gpgsig ")); ok {
				into, inside, text = &armored, true, rest
			} else if bytes.HasPrefix(line, []byte("gpgsig-sha256 ")) {
				inside = true
			}
		}
		switch {
		case !inside:
			payload = append(payload, line...)
		case into != nil:
			into.Write(text)
		}
	}
	return payload, armored.String()
}
