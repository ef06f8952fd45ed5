package manifest

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

// shape compares decoded JSON with the type that it is for, as encoding/json would read it. It
// finds every difference, where a decoder stops at its first, and takes what differs out.
type shape struct {
	wrong   Errors // of another type
	unknown Errors // keys that the type does not have
}

// compare says whether the tree is fit to be read: an element without the name that it goes by
// is not.
func (s *shape) compare(tree any, t reflect.Type, at string) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if tree == nil {
		return true
	}
	fit := false
	switch t.Kind() {
	case reflect.Struct:
		var object map[string]any
		if object, fit = tree.(map[string]any); fit {
			return s.object(object, t, at)
		}
	case reflect.Slice:
		var list []any
		if list, fit = tree.([]any); fit {
			return s.list(list, t, at)
		}
	case reflect.String:
		_, fit = tree.(string)
	case reflect.Bool:
		_, fit = tree.(bool)
	default:
		var n float64
		n, fit = tree.(float64)
		fit = fit && n == math.Trunc(n) && math.Abs(n) <= 1<<53
	}
	if !fit {
		s.mismatch(tree, t, at)
	}
	return fit
}

func (s *shape) object(object map[string]any, t reflect.Type, at string) bool {
	fit := true
	for _, key := range slices.Sorted(maps.Keys(object)) {
		field, known := fieldFor(t, key)
		if !known {
			s.unknown.add(at+"."+key, "is not a key of this version of Ignition: it is ignored")
		} else if !s.compare(object[key], field.Type, at+"."+key) {
			delete(object, key)
			fit = fit && !slices.Contains(naming, key)
		}
	}
	return fit
}

func (s *shape) list(list []any, t reflect.Type, at string) bool {
	for i, element := range list {
		if !s.compare(element, t.Elem(), at+"["+elementName(element, i)+"]") {
			list[i] = nil
		}
	}
	return true
}

// withoutNil takes what is nil out of all lists.
func withoutNil(tree any) any {
	switch tree := tree.(type) {
	case map[string]any:
		for key, value := range tree {
			tree[key] = withoutNil(value)
		}
	case []any:
		kept := tree[:0]
		for _, e := range tree {
			if e != nil {
				kept = append(kept, withoutNil(e))
			}
		}
		return kept
	}
	return tree
}

// mismatch names types and modes only: any other value may be secret.
func (s *shape) mismatch(tree any, t reflect.Type, at string) {
	text, isText := tree.(string)
	if isText && strings.HasSuffix(at, ".mode") {
		s.wrong.add(at, "%s", quotedMode(text))
		return
	}
	if _, fraction := tree.(float64); fraction && word(t) == "a number" {
		s.wrong.add(at, "is not a whole number that fits")
		return
	}
	s.wrong.add(at, "is of type %s, expected %s", kindOf(tree), word(t))
}

func kindOf(tree any) string {
	switch tree.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "bool"
	}
	return "number"
}

// fieldFor finds the field that a key is for: encoding/json takes any case.
func fieldFor(t reflect.Type, key string) (reflect.StructField, bool) {
	var other reflect.StructField
	found := false
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			continue
		}
		if name == key {
			return f, true
		}
		if strings.EqualFold(name, key) {
			other, found = f, true
		}
	}
	return other, found
}
