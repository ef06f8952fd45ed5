package kustomize

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

var errLarge = fmt.Errorf("brings the build over %d MiB", maxOutput>>20)

// encode appends a node as JSON, in the order in which it is written and with the types that YAML
// gives its values. The library goes by way of YAML text and a map, which costs more than the
// build itself.
func encode(out []byte, n *yaml.Node, room int) ([]byte, error) {
	var err error
	if len(out) > room {
		return nil, errLarge
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 1 {
			return encode(out, n.Content[0], room)
		}
	case yaml.MappingNode:
		if merges(n) {
			return encodeAny(out, n)
		}
		return encodeMap(out, n, room)
	case yaml.SequenceNode:
		out = append(out, '[')
		for i, item := range n.Content {
			if i > 0 {
				out = append(out, ',')
			}
			if out, err = encode(out, item, room); err != nil {
				return nil, err
			}
		}
		return append(out, ']'), nil
	case yaml.ScalarNode:
		if n.ShortTag() == "!!str" {
			return encodeString(out, n.Value)
		}
	}
	return encodeAny(out, n)
}

func encodeMap(out []byte, n *yaml.Node, room int) ([]byte, error) {
	var err error
	seen := make(map[string]bool, len(n.Content)/2)
	out = append(out, '{')
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key is no plain value", key.Line)
		}
		if seen[key.Value] {
			return nil, fmt.Errorf("line %d: key %q stands twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = encodeString(out, key.Value); err != nil {
			return nil, err
		}
		out = append(out, ':')
		if out, err = encode(out, n.Content[i+1], room); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}

func merges(n *yaml.Node) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].ShortTag() == "!!merge" {
			return true
		}
	}
	return false
}

func encodeString(out []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, err := json.Marshal(s)
			return append(out, b...), err
		}
	}
	return append(append(append(out, '"'), s...), '"'), nil
}

// encodeAny leaves numbers, dates and the like to the libraries.
func encodeAny(out []byte, n *yaml.Node) ([]byte, error) {
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, fmt.Errorf("line %d: cannot be read", n.Line) // the error may quote the value
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, errors.New("holds a value that JSON does not have")
	}
	return append(out, b...), nil
}
