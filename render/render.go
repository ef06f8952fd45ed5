// Package render turns documents into one config per pool: selection, merge order, and the
// author's mistakes by file and field. It is pure.
package render

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
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
	Line int    // of File, on which Body begins, word for word; 0 where Body is not what was written
	Body []byte // one YAML (or JSON) document
}

// Pool is a set of nodes and the one config that all of them should have.
type Pool struct {
	Name     string
	Selector labels.Selector // of its nodes; nil selects none
	Strategy Strategy
	Policy   policy.Rollout
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
	return out + ": " + e.Why
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
