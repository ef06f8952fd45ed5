package kustomize

import (
	"bytes"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/utils"
	k8syaml "sigs.k8s.io/yaml"
)

const (
	maxReplaced = 5000 // fields that the replacements of a build may name
	boundless   = math.MaxInt64 / 4
)

// growth bounds what replacements and vars copy into the documents of a build before kustomize
// does it: a value that is copied into what it is copied from doubles each time, and kustomize
// knows no end. It counts each copy as large as it could be.
type growth struct {
	measure func(kind, name string, path []string) (largest, places int64)
	often   int64    // a file may be included
	copied  []copied // by the replacements so far
	sum     int64
}

var plainKind = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// copied is what a replacement may have brought to a field of each document of a kind.
type copied struct {
	kind, name string // "" for any
	path       []string
	size       int64
}

// touches says whether it may have come to a field of such a document.
func (c copied) touches(kind, name string, path []string) bool {
	named := c.name == "" || name == "" || strings.Contains(c.name, name) || strings.Contains(name, c.name)
	return named && (c.kind == "" || kind == "" || c.kind == kind) && overlap(path, c.path)
}

// layer is a kustomization of a build, after those that it includes.
type layer struct {
	at string
	*kustomization
}

// grows refuses replacements and vars that could bring a build over what it may yield.
func (s *scan) grows(c cost) {
	//lint:ignore SA1019 repositories still use the old field
	copying := func(l layer) bool { return len(l.Replacements)+len(l.Vars) > 0 }
	if !slices.ContainsFunc(s.layers, copying) {
		return
	}
	if g := (growth{measure: s.roughly(c), often: int64(c.documents)}); g.over(s) == nil {
		return
	}
	t := s.table()
	t.often = int64(c.documents)/max(1, t.documents) + 1
	g := growth{measure: t.measure, often: t.often}
	if at := g.over(s); at != nil {
		s.fail(*at, "could copy more than %d MiB into the documents: copy smaller values, into fewer places, and none into what it is copied from", maxOutput>>20)
	}
}

// over is where too much is copied, nil if nowhere.
func (g *growth) over(s *scan) *spot {
	for _, l := range s.layers {
		for i, field := range l.Replacements {
			for _, r := range s.replacements(l, field) {
				if g.replace(r); g.sum > maxOutput || len(g.copied) > maxReplaced {
					at := l.spot(l.at, fmt.Sprintf("replacements[%d]", i))
					return &at
				}
			}
		}
	}
	return g.vars(s)
}

// vars counts each place where a variable stands as if it were that of the largest value. What
// replacements copied may be full of such places.
func (g *growth) vars(s *scan) *spot {
	uses := sum(product(s.variables(), g.often), g.sum/int64(len("$()")))
	before := g.sum
	for _, l := range s.layers {
		//lint:ignore SA1019 repositories still use the old field
		for i, v := range l.Vars {
			value := g.value(v.ObjRef.Kind, v.ObjRef.Name, v.FieldRef.FieldPath)
			if g.sum = max(g.sum, sum(before, product(value, uses))); g.sum > maxOutput || i > maxReplaced {
				at := l.spot(l.at, fmt.Sprintf("vars[%d]", i))
				return &at
			}
		}
	}
	return nil
}

func (g *growth) replace(r types.Replacement) {
	var value int64
	switch {
	case r.SourceValue != nil:
		value = int64(len(*r.SourceValue))
	case r.Source != nil:
		value = g.value(r.Source.Kind, r.Source.Name, r.Source.FieldPath)
	}
	for _, t := range r.Targets {
		if t == nil || t.Select == nil {
			continue
		}
		kind, name := t.Select.Kind, t.Select.Name
		if !plainKind.MatchString(kind) {
			kind = "" // a pattern
		}
		if !plainName.MatchString(name) {
			name = ""
		}
		for _, field := range t.FieldPaths {
			path := fieldPath(field)
			_, places := g.measure(kind, name, path)
			g.sum = sum(g.sum, product(value, places))
			g.copied = append(g.copied, copied{kind, name, path, value})
		}
	}
}

// value is how large the value of a field may be by now: as it was written, and what was copied
// to it, into it and around it since.
func (g *growth) value(kind, name, field string) int64 {
	path := fieldPath(field)
	size, _ := g.measure(kind, name, path)
	for _, c := range g.copied {
		if c.touches(kind, name, path) {
			size = sum(size, c.size)
		}
	}
	return size
}

func fieldPath(field string) []string {
	if field == "" {
		field = types.DefaultReplacementFieldPath
	}
	return utils.SmarterPathSplitter(field, ".")
}

// overlap says whether one field may be the other, or a part of it.
func overlap(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] && !element(a[i]) && !element(b[i]) {
			return false
		}
	}
	return true
}

// element says of a step that it leads to elements of a list, not to a key.
func element(step string) bool {
	_, err := strconv.Atoi(step)
	return err == nil || step == "*" || step == "-" || strings.HasPrefix(step, "[")
}

// replacements are those of a field of a kustomization, which may name a file of them.
func (s *scan) replacements(l layer, field types.ReplacementField) []types.Replacement {
	if field.Path == "" {
		return []types.Replacement{field.Replacement}
	}
	at, why := s.resolve(path.Dir(l.at), field.Path)
	if why != "" {
		return nil
	}
	var all []types.Replacement
	if k8syaml.Unmarshal(s.file(at).text(), &all) == nil {
		return all
	}
	var one types.Replacement
	if k8syaml.Unmarshal(s.file(at).text(), &one) == nil {
		return []types.Replacement{one}
	}
	return nil // kustomize says what is wrong with it
}

// variables is in how many places of the files that were read one could stand.
func (s *scan) variables() (n int64) {
	for at := range s.saw {
		if f := s.files[at]; f != nil {
			n += int64(bytes.Count(f.data, []byte("$(")) + bytes.Count(f.manifest, []byte("$(")))
		}
	}
	return n
}

// roughly takes each value for as large as the largest file: most builds are far below the bound
// even so, and need no closer look.
func (s *scan) roughly(c cost) func(kind, name string, path []string) (largest, places int64) {
	largest := int64(0)
	for at := range s.saw {
		if f := s.files[at]; f != nil {
			largest = max(largest, int64(len(f.data)), int64(len(f.manifest)))
		}
	}
	return func(_, _ string, path []string) (int64, int64) {
		if slices.ContainsFunc(path, element) {
			return largest, boundless
		}
		return largest, int64(c.documents)
	}
}

func sum(a, b int64) int64 { return min(a+b, boundless) }

func product(a, b int64) int64 {
	if a > 0 && b > boundless/a {
		return boundless
	}
	return a * b
}
