package render

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

// place is where in its file something was written. The zero place is not known.
type place struct {
	doc  *text  // nil where the words of the author are lost, as behind kustomize
	item string // of a list: the field of the document in it, with a dot at its end
}

// text is a document as its author wrote it.
type text struct {
	line int // of the file, on which body begins
	body []byte
	root *yaml.Node
	read bool
}

// line is where the field stands, or the part of it that is written; 0 is not known. It is asked
// for mistakes only, so that what is right costs nothing.
func (p place) line(field string) int {
	if p.doc == nil || p.doc.line == 0 {
		return 0
	}
	if !p.doc.read {
		p.doc.read = true
		var root yaml.Node
		if err := yaml.Unmarshal(p.doc.body, &root); err == nil && len(root.Content) == 1 {
			p.doc.root = root.Content[0]
		}
	}
	if p.doc.root == nil {
		return 0
	}
	line, now := p.doc.root.Line, p.doc.root
	for _, step := range steps(p.item + field) {
		key, value := child(now, step)
		if value == nil {
			break
		}
		line, now = key.Line, value
	}
	return p.doc.line - 1 + line
}

// step is a key, or what stands in brackets behind one: the name or number of a list element.
type step struct {
	name    string
	element bool
}

func steps(field string) (out []step) {
	for field != "" {
		if inner, found := strings.CutPrefix(field, "["); found {
			end := strings.Index(inner+".", "].")
			if next := strings.Index(inner, "]["); next >= 0 && (end < 0 || next < end) {
				end = next
			}
			if end < 0 {
				return out
			}
			out = append(out, step{inner[:end], true})
			field = strings.TrimPrefix(inner[end+1:], ".")
			continue
		}
		end := strings.IndexAny(field, ".[")
		if end < 0 {
			end = len(field)
		}
		out = append(out, step{field[:end], false})
		field = strings.TrimPrefix(field[end:], ".")
	}
	return out
}

// child is the value of a key, or the element of that name, and the node that it begins with.
func child(n *yaml.Node, s step) (key, value *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind == yaml.MappingNode && !s.element:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == s.name {
				return n.Content[i], n.Content[i+1]
			}
		}
	case n.Kind == yaml.SequenceNode && s.element:
		for _, e := range n.Content {
			for _, naming := range []string{"path", "name", "device"} {
				if _, v := child(e, step{naming, false}); v != nil && e.Kind == yaml.MappingNode && v.Value == s.name {
					return e, e
				}
			}
		}
		if i, err := strconv.Atoi(s.name); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
	}
	return nil, nil
}

// texts takes a document apart, should it be several, and says where each begins.
func texts(d Document) (out []*text) {
	for _, p := range manifest.Split(d.Body) {
		t := &text{body: p.Body}
		if d.Line > 0 {
			t.line = d.Line - 1 + p.Line
		}
		out = append(out, t)
	}
	return out
}

// unreadable is the mistake of a document that is no YAML: the library knows the line itself.
func (r *reader) unreadable(file string, doc *text, err error) {
	e := Error{File: file, Why: err.Error()}
	if rest, found := strings.CutPrefix(e.Why, "line "); found && doc.line > 0 {
		number, words, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			e.Line, e.Why = doc.line-1+n, words
		}
	}
	r.errs = append(r.errs, e)
}
