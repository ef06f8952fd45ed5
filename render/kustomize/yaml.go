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
	decoder := yaml.NewDecoder(bytes.NewReader(contents))
	nodes := 0
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errors.New("is no YAML: " + strings.TrimPrefix(err.Error(), "yaml: "))
		}
		n, err := size(&doc, 0, map[*yaml.Node]int{})
		if err != nil {
			return err
		}
		if nodes += n; nodes > maxNodes {
			return fmt.Errorf("holds more than %d values once its aliases are expanded", maxNodes)
		}
	}
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
