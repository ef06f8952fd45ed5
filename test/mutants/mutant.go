package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mutant is one small change, and the promise that it breaks.
type mutant struct {
	promise, file, old, mutated string
}

// parse reads blocks of four lines, set apart by empty ones:
//
//	# what it breaks
//	policy/budget.go
//	- a piece of the file, which stands there once
//	+ what stands there instead; \n is a line end
func parse(text string) (out []mutant, err error) {
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if len(lines) != 4 {
			return nil, fmt.Errorf("a mutant has four lines (# promise, file, - old, + new), this one has %d: %q", len(lines), lines[0])
		}
		promise, a := strings.CutPrefix(lines[0], "# ")
		old, b := strings.CutPrefix(lines[2], "- ")
		mutated, c := strings.CutPrefix(lines[3], "+ ")
		if !a || !b || !c || old == mutated {
			return nil, fmt.Errorf("mutant %q: want lines that begin with #, a file, - and +, and a change", lines[0])
		}
		out = append(out, mutant{promise, lines[1], unfold(old), unfold(mutated)})
	}
	return out, nil
}

func unfold(s string) string { return strings.ReplaceAll(s, `\n`, "\n") }

// applied is the file with the change. A mutant whose text is gone proves nothing any more.
func (m mutant) applied(tree string) (string, error) {
	text, err := os.ReadFile(filepath.Join(tree, m.file))
	if err != nil {
		return "", fmt.Errorf("mutant %q: %w", m.promise, err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("mutant %q is stale: %s has %q %d times, not once; adapt it", m.promise, m.file, m.old, n)
	}
	return strings.Replace(string(text), m.old, m.mutated, 1), nil
}

// try applies a mutant, asks who notices, and takes it back.
func (l lab) try(m mutant) (caught string, err error) {
	path := filepath.Join(l.tree, m.file)
	sane, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text, err := m.applied(l.tree)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", err
	}
	caught, err = l.notices()
	return caught, errors.Join(err, os.WriteFile(path, sane, 0o644))
}
