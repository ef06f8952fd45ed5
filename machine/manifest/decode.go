package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Part is one document of a YAML stream.
type Part struct {
	Line int // of the stream, on which Body begins; the first is 1
	Body []byte
}

// Split takes a YAML stream apart. Documents that hold nothing but comments are left out.
func Split(stream []byte) []Part {
	var parts []Part
	now := Part{Line: 1}
	end := func(next int) {
		if !blank(now.Body) {
			parts = append(parts, now)
		}
		now = Part{Line: next}
	}
	number := 0
	for line := range bytes.Lines(stream) {
		number++
		rest, marker := bytes.CutPrefix(line, []byte("---"))
		if marker && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			end(number)
			line = rest // a document may begin on the line of its marker
		}
		now.Body = append(now.Body, line...)
	}
	end(number)
	return parts
}

// Documents is Split without the lines.
func Documents(stream []byte) (docs [][]byte) {
	for _, p := range Split(stream) {
		docs = append(docs, p.Body)
	}
	return docs
}

func blank(doc []byte) bool {
	for line := range bytes.Lines(doc) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' && string(line) != "..." {
			return false
		}
	}
	return true
}

// FromYAML turns one YAML or JSON document into JSON. A key that stands twice is an error: which
// of the two was meant cannot be known. Errors begin with "line N: " where that is known, counted
// from the document's own first line, and do not quote values.
func FromYAML(doc []byte) ([]byte, error) {
	if json.Valid(doc) {
		return doc, nil
	}
	encoded, err := yaml.YAMLToJSONStrict(doc)
	if err == nil {
		return encoded, nil
	}
	if whole := inherited(doc); whole != nil {
		// The library takes a key that overrides an inherited one for a key that stands twice.
		if encoded, err = yaml.YAMLToJSONStrict(whole); err == nil {
			return encoded, nil
		}
		err = errors.New(lines.ReplaceAllString(err.Error(), "")) // they are not the author's
	}
	why := tidy(err)
	if bytes.Contains(doc, []byte("{{")) {
		why += ". It looks like a template: render it first"
	}
	return nil, errors.New(why)
}

var lines = regexp.MustCompile(`line \d+: `)

// tidy is what the YAML library says, in one line. Where it would quote a value, which may be
// secret, it says what is wrong in words of ours.
func tidy(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for quoting, ours := range map[string]string{
		"invalid map key":       "a key is no plain text: put quotes around what begins with {",
		"unsupported map key":   "a key is no plain text: put quotes around it",
		"unknown anchor":        "an alias names an anchor that is not there: put quotes around what begins with *",
		"value contains itself": "an anchor holds itself",
		"cannot decode":         "a value does not fit its tag",
		"cannot unmarshal":      "a value does not fit its tag",
		"unsupported value":     "holds a number that JSON does not know",
	} {
		if strings.Contains(text, quoting) {
			return ours
		}
	}
	return strings.TrimPrefix(strings.TrimPrefix(text, "yaml: "), "unmarshal errors: ")
}

// Decode reads JSON into a struct, strictly: names are told apart by case, and every field that
// the struct does not have is an Error.
func Decode(encoded []byte, into any) Errors {
	unknown, errs := DecodePruned(encoded, into)
	return append(errs, unknown...)
}

// DecodePruned reads JSON into a struct as the API server does: fields that the struct does not
// have are dropped. It names them, since their author meant something by them.
func DecodePruned(encoded []byte, into any) (unknown, errs Errors) {
	strict, err := kjson.UnmarshalStrict(encoded, into)
	wrong, moment := (*json.UnmarshalTypeError)(nil), (*time.ParseError)(nil)
	switch {
	case errors.As(err, &wrong):
		errs = append(errs, mismatch("", wrong))
		if rest, less := without(encoded, wrong.Field); less { // a decoder says its first mismatch only
			more, others := DecodePruned(rest, into)
			return more, append(errs, others...)
		}
	case errors.As(err, &moment):
		field := holding(encoded, moment.Value) // a decoder does not say where
		errs.add(field, "%q is no time such as 2026-12-24T08:00:00Z", moment.Value)
		if rest, less := without(encoded, index.ReplaceAllString(field, "")); less {
			more, others := DecodePruned(rest, into)
			return more, append(errs, others...)
		}
	case err != nil:
		errs.add("", "is not JSON that can be read")
	}
	for _, e := range strict {
		kind, field, _ := strings.Cut(e.Error(), ` field "`)
		field = strings.TrimSuffix(field, `"`)
		if kind == "duplicate" {
			errs.add(field, "stands twice")
		} else {
			unknown.add(field, "is not a known field: check its spelling and its place")
		}
	}
	return unknown, errs
}

var index = regexp.MustCompile(`\[\d+\]`)

// holding is the first field of JSON that has this text; "" is none.
func holding(encoded []byte, text string) string {
	var tree any
	if json.Unmarshal(encoded, &tree) != nil {
		return ""
	}
	var find func(tree any, at string) string
	find = func(tree any, at string) string {
		switch tree := tree.(type) {
		case string:
			if tree == text {
				return at
			}
		case []any:
			for i, e := range tree {
				if found := find(e, fmt.Sprintf("%s[%d]", at, i)); found != "" {
					return found
				}
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(tree)) {
				if found := find(tree[key], strings.TrimPrefix(at+"."+key, ".")); found != "" {
					return found
				}
			}
		}
		return ""
	}
	return find(tree, "")
}

// without is JSON without a field, in every element of the lists on the way to it. less says
// whether it was there.
func without(encoded []byte, field string) (out []byte, less bool) {
	var tree any
	d := json.NewDecoder(bytes.NewReader(encoded))
	d.UseNumber()
	if field == "" || d.Decode(&tree) != nil {
		return nil, false
	}
	var cut func(tree any, steps []string)
	cut = func(tree any, steps []string) {
		switch tree := tree.(type) {
		case []any:
			for _, e := range tree {
				cut(e, steps)
			}
		case map[string]any:
			inner, there := tree[steps[0]]
			if len(steps) > 1 {
				cut(inner, steps[1:])
			} else if there {
				delete(tree, steps[0])
				less = true
			}
		}
	}
	cut(tree, strings.Split(field, "."))
	if !less {
		return nil, false
	}
	out, err := json.Marshal(tree)
	return out, err == nil
}

// mismatch names the types only: the value may be secret.
func mismatch(prefix string, wrong *json.UnmarshalTypeError) Error {
	value, _, _ := strings.Cut(wrong.Value, " ")
	return Error{Field: prefix + wrong.Field, Why: "is of type " + value + ", expected " + word(wrong.Type)}
}

func word(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return word(t.Elem())
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	default:
		return "a number"
	}
}
