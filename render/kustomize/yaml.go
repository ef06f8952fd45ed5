package kustomize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxDepth = 100     // levels; the deepest field of a MachineConfig is at level 10
	maxNodes = 500_000 // nodes of a file, each alias counted as what it stands for
)

// inspect parses a file without expanding it: kustomize expands aliases with no bound of its own.
func inspect(contents []byte) error {
	_, err := parse(contents)
	return err
}

// parse gives the documents of a file that is safe to expand.
func parse(contents []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(contents))
	nodes := 0
	var docs []*yaml.Node
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, grammar(contents, err)
		}
		n, err := size(&doc, 0, map[*yaml.Node]int{})
		if err != nil {
			return nil, err
		}
		if nodes += n; nodes > maxNodes {
			return nil, fmt.Errorf("holds more than %d values once its aliases are expanded", maxNodes)
		}
		docs = append(docs, &doc)
	}
}

// grammar is what the library says of a text that is no YAML, without what it quotes of it.
func grammar(contents []byte, err error) error {
	why := strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "yaml: ")
	if before, _, quotes := strings.Cut(why, "unknown anchor "); quotes {
		why = before + "an alias names an anchor that is not there: put quotes around what begins with *"
	}
	if len(why) > 200 {
		why = strings.ToValidUTF8(why[:200], "") + "..."
	}
	if bytes.Contains(contents, []byte("{{")) {
		why += ". It looks like a template: commit what it renders to"
	}
	return errors.New("is no YAML: " + why)
}

// size counts what a node expands to. seen holds what each anchor came to, 0 while it is counted.
func size(n *yaml.Node, depth int, seen map[*yaml.Node]int) (int, error) {
	if depth > maxDepth {
		return 0, fmt.Errorf("line %d: is nested deeper than %d levels", n.Line, maxDepth)
	}
	if n.Kind == yaml.AliasNode {
		known, begun := seen[n.Alias]
		if begun && known == 0 {
			return 0, fmt.Errorf("line %d: alias %q stands for itself", n.Line, n.Value)
		}
		return known, nil
	}
	if n.Anchor != "" {
		seen[n] = 0
	}
	sum := 1
	for _, child := range n.Content {
		c, err := size(child, depth+1, seen)
		if err != nil {
			return 0, err
		}
		if sum += c; sum > maxNodes {
			return 0, fmt.Errorf("line %d: holds more than %d values once its aliases are expanded", n.Line, maxNodes)
		}
	}
	if n.Anchor != "" {
		seen[n] = sum
	}
	return sum, nil
}

// harmless says of most files, by their text alone, that they cannot hold what inspect refuses
// but for bad grammar, which kustomize finds by itself. To parse every file a second time would
// cost as much as the build.
func harmless(contents []byte) bool {
	const (
		plenty = 256 << 10 // bytes, and so at most that many nodes
		flow   = 30        // open brackets, wherever they stand
		column = 30        // where a line begins; each level but a list's takes a column
	)
	if len(contents) > plenty || bytes.IndexByte(contents, '*') >= 0 ||
		bytes.Count(contents, []byte("["))+bytes.Count(contents, []byte("{")) > flow {
		return false
	}
	for l := range bytes.Lines(contents) {
		if len(l)-len(bytes.TrimLeft(l, " -?:\t")) > column {
			return false
		}
	}
	return true
}
