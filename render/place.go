package render

import (
	"reflect"
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

// text is a document that was read, and where its author wrote it.
type text struct {
	line    int // of the file, on which written begins, or body where there is none
	body    []byte
	written []byte // the file that body came of; nil: body is as it was written

	read   bool
	source *yaml.Node // as it was written
	made   *yaml.Node // what came of it; nil where that is the same
}

// line is where the field stands, or the part of it that is written; 0 is not known. It is asked
// for mistakes only, so that what is right costs nothing. What something else than its author's
// file brought has no line: rather none than a wrong one.
func (p place) line(field string) int {
	if p.doc == nil || p.doc.line == 0 {
		return 0
	}
	p.doc.parse()
	now, made := p.doc.source, p.doc.made
	if now == nil {
		return 0
	}
	line, numbered, whole := now.Line, false, true
	for _, step := range steps(p.item + field) {
		key, value := child(now, step)
		if made != nil {
			_, became := child(made, step)
			if (value == nil) != (became == nil) {
				return 0
			}
			if became != nil {
				made = became
			}
		}
		if value == nil {
			whole = false
			break
		}
		if _, err := strconv.Atoi(step.name); err == nil && step.element {
			numbered = true // the same number may be another element by now
		}
		line, now = key.Line, value
	}
	if made != nil && (whole || numbered) && !same(now, made) {
		return 0
	}
	return p.doc.line - 1 + line
}

func (t *text) parse() {
	if t.read {
		return
	}
	t.read = true
	if t.written == nil {
		t.source = root(t.body)
		return
	}
	if t.made = root(t.body); t.made == nil {
		return
	}
	t.source = t.origin(manifest.Split(t.written))
}

// origin is the document of the file that body came of: the only one there, or the one of that
// kind and name, be it in a list.
func (t *text) origin(parts []manifest.Part) *yaml.Node {
	type written struct {
		node *yaml.Node
		line int // of the file, before that of its document
	}
	var all []written
	for _, p := range parts {
		n := root(p.Body)
		if n == nil {
			continue
		}
		_, items := child(n, step{"items", false})
		if _, kind := child(n, step{"kind", false}); kind == nil || !strings.HasSuffix(kind.Value, "List") || items == nil {
			all = append(all, written{n, p.Line - 1})
			continue
		}
		for _, item := range items.Content {
			all = append(all, written{item, p.Line - 1})
		}
	}
	var found *yaml.Node
	before := 0
	for _, w := range all {
		if !sameAt(w.node, t.made, "apiVersion") || !sameAt(w.node, t.made, "kind") || len(all) > 1 && !sameAt(w.node, t.made, "metadata", "name") {
			continue
		}
		if found != nil {
			return nil
		}
		found, before = w.node, w.line
	}
	t.line += before
	return found
}

func root(body []byte) *yaml.Node {
	var n yaml.Node
	if err := yaml.Unmarshal(body, &n); err != nil || len(n.Content) != 1 {
		return nil
	}
	return n.Content[0]
}

func sameAt(a, b *yaml.Node, keys ...string) bool {
	for _, k := range keys {
		_, a = child(a, step{k, false})
		_, b = child(b, step{k, false})
		if a == nil || b == nil {
			return false
		}
	}
	return same(a, b)
}

// same says whether two values are the same to a reader.
func same(a, b *yaml.Node) bool {
	var left, right any
	return a.Decode(&left) == nil && b.Decode(&right) == nil && reflect.DeepEqual(left, right)
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
	if d.Written != nil {
		return []*text{{line: d.Line, body: d.Body, written: d.Written}}
	}
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
	if rest, found := strings.CutPrefix(e.Why, "line "); found && doc.line > 0 && doc.written == nil {
		number, words, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			e.Line, e.Why = doc.line-1+n, words
		}
	}
	r.errs = append(r.errs, e)
}
