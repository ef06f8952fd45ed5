package kustomize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"sync"

	"go.yaml.in/yaml/v3"
)

// keyed is a part of the schema: by what the elements of a list are known again.
type keyed struct {
	Properties map[string]keyed `json:"properties"`
	Items      *keyed           `json:"items"`
	Key        string           `json:"x-kubernetes-patch-merge-key"`
}

var keys = sync.OnceValue(func() keyed {
	var all struct {
		Definitions map[string]keyed `json:"definitions"`
	}
	if err := json.Unmarshal(schema, &all); err != nil {
		panic("kustomize: own schema is no JSON: " + err.Error())
	}
	return all.Definitions["io.openshift.machineconfiguration.v1.MachineConfig"]
})

// keyless finds the list elements of a strategic merge patch that lack what they are known by.
// Kustomize would empty the whole list for one of them, and nodes would lose every file of it.
func keyless(patch []byte, say func(line int, field, key string)) {
	if !bytes.Contains(patch, []byte("MachineConfig")) {
		return
	}
	docs, err := parse(patch)
	if err != nil {
		return // it is said elsewhere
	}
	for _, d := range docs {
		var head struct {
			Kind string `yaml:"kind"`
		}
		if len(d.Content) == 1 && d.Content[0].Kind == yaml.MappingNode && d.Decode(&head) == nil && head.Kind == "MachineConfig" {
			keys().lacks(d.Content[0], "", say)
		}
	}
}

const lostList = "has no %s, by which a patch knows what it changes: write it, or all of the list would be lost"

func (k keyed) lacks(n *yaml.Node, at string, say func(line int, field, key string)) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if inner, known := k.Properties[name]; known {
				inner.lacks(n.Content[i+1], at+"."+name, say)
			}
		}
	case yaml.SequenceNode:
		for i, e := range n.Content {
			element := fmt.Sprintf("%s[%d]", at, i)
			if k.Key != "" && !hasKey(e, k.Key) && !hasKey(e, "$patch") {
				say(e.Line, element[1:], k.Key)
			} else if k.Items != nil {
				k.Items.lacks(e, element, say)
			}
		}
	}
}

func hasKey(n *yaml.Node, key string) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if k := n.Content[i]; k.Value == key || k.Tag == "!!merge" {
			return true
		}
	}
	return false
}

// namelessPatches finds the strategic merge patches that do not say what they are of. Kustomize
// wants that also where a target says what they are for, and tells none from another.
func (s *scan) namelessPatches() {
	for _, l := range s.layers {
		for i, p := range l.Patches {
			patch, at := []byte(p.Patch), l.spot(l.at, fmt.Sprintf("patches[%d].patch", i))
			if p.Path != "" {
				file := path.Join(path.Dir(l.at), p.Path)
				patch, at = s.file(file).text(), spot{file: file, line: 1}
			}
			docs, _ := parse(patch)
			for _, d := range docs {
				if len(d.Content) == 1 && d.Content[0].Kind == yaml.MappingNode && (value(d, "kind") == nil || value(value(d, "metadata"), "name") == nil) {
					s.fail(at, "has no kind and metadata.name: a patch needs both, also where its target says what it is for")
				}
			}
		}
	}
}
