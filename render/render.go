// Package render turns documents into one config per pool: selection, merge order, and the
// author's mistakes by file and field. It is pure.
package render

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
)

// Build is one universe of documents: what one kustomization, or one directory, yields.
type Build struct {
	Dir       string // in the repository, slash-separated; "." is its root
	Documents []Document
	Notices   []string // what whoever built it noticed; Pools passes them on
	Errors    Errors   // why its documents are not all there; Pools says them with all others
}

// Document is one YAML document of a build.
type Document struct {
	File string // where it was written, in the repository, as well as that is known
	Line int    // of File, on which Body begins, word for word, or Written; 0 where neither is known
	Body []byte // one YAML (or JSON) document

	// Written is what stands in File where Body came of one of its documents and may have been
	// patched on the way. A field that is still as it was written is found there.
	Written []byte
}

// Pool is a set of nodes and the one config that all of them should have.
type Pool struct {
	Name     string
	Selector labels.Selector // of its nodes; nil selects none
	Strategy Strategy
	Policy   policy.Rollout
	Rules    []impact.Rule // what a change costs its nodes; nil is impact.Defaults()
	Config   machine.Config
	Digest   machine.Digest    // of Config, where render has computed it: ask Target
	Origins  map[string]string // impact cause (path, unit, field) -> file of the repository that brought it
}

// Target is the digest of the pool's config. It costs a pass over the whole config where render
// has not computed it.
func (p Pool) Target() machine.Digest {
	if p.Digest != "" {
		return p.Digest
	}
	return p.Config.Digest()
}

// Strategy is what the MachineConfigPool says of its rollout.
type Strategy struct {
	Paused         bool
	MaxUnavailable string // "", "2" or "10%", as MachineConfigPool writes it; "" is 1
}

// Result is all that a revision renders to.
type Result struct {
	Pools   []Pool   // sorted by name
	Notices []string // what was passed over, and what an author probably did not mean; sorted
}

// Error is one mistake of an author. Its words end up in the pull request, so it never holds
// contents.
type Error struct {
	File  string
	Line  int // 0 where it is not known
	Field string
	Why   string
}

// Error is "file:line: field: why", without what is not known.
func (e Error) Error() string {
	out := e.File
	if e.Line > 0 {
		out += fmt.Sprint(":", e.Line)
	}
	if e.Field != "" {
		out += ": " + e.Field
	}
	return visible(out + ": " + e.Why)
}

// visible escapes what would move the cursor of who reads it, or hide from him: names of files
// and fields are the author's, and may hold any byte.
func visible(s string) string {
	plain := func(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var out strings.Builder
	for _, r := range s {
		if plain(r) {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}

// Errors are all the mistakes of a revision at once, sorted by file; errors.As finds them.
type Errors []Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}
