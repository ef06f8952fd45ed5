package manifest

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

// shape compares decoded JSON with the type that it is for, as encoding/json would read it. It
// finds every difference, where a decoder stops at its first.
type shape struct {
	wrong   Errors // of another type
	unknown Errors // keys that the type does not have
}

func (s *shape) compare(tree any, t reflect.Type, at string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if tree == nil {
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		object, ok := tree.(map[string]any)
		if !ok {
			s.mismatch(tree, t, at)
		}
		for _, key := range slices.Sorted(maps.Keys(object)) {
			value := object[key]
			if field, known := fieldFor(t, key); known {
				s.compare(value, field.Type, at+"."+key)
			} else {
				s.unknown.add(at+"."+key, "is not a key of this version of Ignition: it is ignored")
			}
		}
	case reflect.Slice:
		list, ok := tree.([]any)
		if !ok {
			s.mismatch(tree, t, at)
		}
		for i, element := range list {
			s.compare(element, t.Elem(), at+"["+elementName(element, i)+"]")
		}
	case reflect.String:
		if _, ok := tree.(string); !ok {
			s.mismatch(tree, t, at)
		}
	case reflect.Bool:
		if _, ok := tree.(bool); !ok {
			s.mismatch(tree, t, at)
		}
	default:
		if n, ok := tree.(float64); !ok || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
			s.mismatch(tree, t, at)
		}
	}
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
