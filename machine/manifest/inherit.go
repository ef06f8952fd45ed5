package manifest

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// inherited writes into each mapping of a document what it takes from others with <<. As YAML 1.1
// says of it, and as kustomize does it, a key of the mapping's own wins, then the first mapping
// that is named. It is nil where there is nothing of the kind, or nothing that can be read.
func inherited(doc []byte) []byte {
	if !bytes.Contains(doc, []byte("<<")) {
		return nil
	}
	var root yaml.Node
	if err := yaml.Unmarshal(doc, &root); err != nil {
		return nil
	}
	f := flattener{done: map[*yaml.Node]bool{}}
	if !f.walk(&root) || !f.found {
		return nil
	}
	out, err := yaml.Marshal(&root)
	if err != nil {
		return nil
	}
	return out
}

// flattener keeps which nodes are done; false is one that has begun.
type flattener struct {
	done  map[*yaml.Node]bool
	found bool
}

// walk is false where a mapping would inherit from itself, or from what is no mapping.
func (f *flattener) walk(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		return true // its anchor stands elsewhere, and is walked there
	}
	if done, begun := f.done[n]; begun {
		return done
	}
	f.done[n] = false
	for _, child := range n.Content {
		if !f.walk(child) {
			return false
		}
	}
	if n.Kind == yaml.MappingNode && !f.inherit(n) {
		return false
	}
	f.done[n] = true
	return true
}

func (f *flattener) inherit(n *yaml.Node) bool {
	var own, from []*yaml.Node
	named := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.ShortTag() != "!!merge":
			own = append(own, key, value)
			named[key.Value] = true
		case value.Kind == yaml.SequenceNode:
			from = append(from, value.Content...)
		default:
			from = append(from, value)
		}
	}
	if len(from) == 0 {
		return true
	}
	f.found = true
	for _, other := range from {
		if other.Kind == yaml.AliasNode {
			other = other.Alias
		}
		if other.Kind != yaml.MappingNode || !f.walk(other) {
			return false
		}
		for i := 0; i+1 < len(other.Content); i += 2 {
			if key := other.Content[i]; !named[key.Value] {
				own = append(own, key, other.Content[i+1])
				named[key.Value] = true
			}
		}
	}
	n.Content = own
	return true
}
