package kustomize

import (
	"bytes"
	"errors"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

var (
	actions = regexp.MustCompile(`(?s)\{\{.*?\}\}|\{%.*?%\}`)
	alone   = regexp.MustCompile(`(?m)^[ \t]*((\{\{.*?\}\}|\{%.*?%\})[ \t]*)+\r?$`)
)

// template says of a file that is no YAML whether nothing but the actions of a template are to
// blame: once a word stands for each, it is YAML. Contents of a file may hold braces, too. A
// MachineConfig that is broken elsewhere must not be passed over for them: its nodes would lose
// what it gives them.
func template(data []byte) bool {
	if !actions.Match(data) {
		return false
	}
	data = alone.ReplaceAll(data, nil)
	for _, word := range []string{"x", ""} {
		n := int64(0)
		filled := actions.ReplaceAllFunc(data, func([]byte) []byte {
			if n++; word == "" {
				return nil
			}
			return strconv.AppendInt([]byte(word), n, 10)
		})
		if text(filled) == nil && inspect(filled) == nil && byChance(filled) == nil {
			return true
		}
	}
	return false
}

// byChance is what is wrong with a file whose actions are YAML: {{ x }} is a mapping with a
// mapping as its key, which JSON cannot say.
func byChance(data []byte) error {
	if !bytes.Contains(data, []byte("{")) {
		return nil
	}
	docs, err := parse(data)
	for _, d := range docs {
		if err == nil && mappingAsKey(d) {
			err = errors.New("holds a mapping as a key")
		}
	}
	return err
}

func mappingAsKey(n *yaml.Node) bool {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && child.Kind == yaml.MappingNode || mappingAsKey(child) {
			return true
		}
	}
	return false
}

// narrow is UTF-16 as if it were ASCII, which is enough to look for a name in it.
func narrow(data []byte) []byte { return bytes.ReplaceAll(data, []byte{0}, nil) }
