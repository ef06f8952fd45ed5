package kustomize

import (
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resource"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/render"
)

const originNote = "config.kubernetes.io/origin"

// document is what kustomize made of one, without the note that it left there of its origin.
func (s *scan) document(at string, n *yaml.Node, room int) (render.Document, error) {
	d := render.Document{File: at}
	if note := takeNote(n); note != "" {
		d.File = s.written(at, note)
	}
	var err error
	if d.Body, err = encode(nil, n, room); err != nil {
		return d, err
	}
	// With other names, a document of a file of several is not to be told from its neighbours.
	if f := s.files[d.File]; f != nil && f.yaml && (!s.renames || !severalDocuments(f.data)) {
		d.Line, d.Written = 1, f.text()
	}
	return d, nil
}

// takeNote removes the annotation, and annotations that are empty without it.
func takeNote(n *yaml.Node) string {
	metadata := value(n, "metadata")
	annotations := value(metadata, "annotations")
	if annotations == nil || annotations.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(annotations.Content); i += 2 {
		if annotations.Content[i].Value != originNote {
			continue
		}
		note := annotations.Content[i+1].Value
		annotations.Content = append(annotations.Content[:i:i], annotations.Content[i+2:]...)
		if len(annotations.Content) == 0 {
			drop(metadata, "annotations")
		}
		return note
	}
	return ""
}

func value(n *yaml.Node, key string) *yaml.Node {
	if n != nil && n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func drop(n *yaml.Node, key string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = append(n.Content[:i:i], n.Content[i+2:]...)
			return
		}
	}
}

// written is the file of the repository that a note names, at is that of the build.
func (s *scan) written(at, note string) string {
	if p, plain := strings.CutPrefix(note, "path: "); plain {
		// Most notes are this one line; to parse it as YAML costs as much as all else does here.
		if p = strings.TrimSuffix(p, "\n"); isPlain(p) {
			return path.Join(s.build.Dir, p)
		}
	}
	var origin resource.Origin
	if err := k8syaml.Unmarshal([]byte(note), &origin); err != nil {
		return at
	}
	for _, p := range []string{origin.Path, origin.ConfiguredIn} {
		if p != "" {
			return path.Join(s.build.Dir, p)
		}
	}
	return at
}

// isPlain says of a path that YAML writes it as it is.
func isPlain(p string) bool {
	for i := range len(p) {
		letter := 'a' <= p[i]|0x20 && p[i]|0x20 <= 'z'
		if !letter && (i == 0 && p[i] != '.' || !strings.ContainsRune("0123456789-_./", rune(p[i]))) {
			return false
		}
	}
	return strings.Contains(p, "/") || strings.HasSuffix(p, ".yaml")
}
