package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Documents splits a YAML stream into its documents. Those that hold nothing but comments are
// left out.
func Documents(stream []byte) [][]byte {
	var docs [][]byte
	var doc []byte
	end := func() {
		if !blank(doc) {
			docs = append(docs, doc)
		}
		doc = nil
	}
	for line := range bytes.Lines(stream) {
		rest, marker := bytes.CutPrefix(line, []byte("---"))
		if marker && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			end()
			line = rest // a document may begin on the line of its marker
		}
		doc = append(doc, line...)
	}
	end()
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
// of the two was meant cannot be known.
func FromYAML(doc []byte) ([]byte, error) {
	if json.Valid(doc) {
		return doc, nil
	}
	encoded, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		text := strings.Join(strings.Fields(err.Error()), " ")
		return nil, errors.New(strings.TrimPrefix(strings.TrimPrefix(text, "yaml: "), "unmarshal errors: "))
	}
	return encoded, nil
}

// Decode reads JSON into a struct, strictly: names are told apart by case, and every field that
// the struct does not have is an Error.
func Decode(encoded []byte, into any) Errors {
	unknown, err := kjson.UnmarshalStrict(encoded, into)
	var errs Errors
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		errs = append(errs, mismatch("", wrong))
	} else if err != nil {
		errs.add("", "%v", err)
	}
	for _, e := range unknown {
		kind, field, _ := strings.Cut(e.Error(), ` field "`)
		why := "is not a known field: check its spelling and its place"
		if kind == "duplicate" {
			why = "stands twice"
		}
		errs.add(strings.TrimSuffix(field, `"`), "%s", why)
	}
	return errs
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
