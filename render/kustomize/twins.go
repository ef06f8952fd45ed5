package kustomize

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

// twins are Butane and its committed output in one kustomization, which kustomize refuses as two
// of one name. Where both stand for the same, the output is taken and the source set aside.
func (s *scan) twins(dir, at string, k *kustomization) {
	var aside []string
	for _, p := range k.Resources {
		source := path.Join(dir, p)
		f := s.files[source]
		if path.Ext(source) != ".bu" || f == nil || f.manifest == nil {
			continue
		}
		own, err := manifest.Parse(f.manifest)
		if err != nil {
			continue // render says what is wrong with it
		}
		other, found := s.twin(dir, k, own.Name)
		switch {
		case found == nil:
		case manifest.Same(own, *found):
			s.notice(source, "MachineConfig %s stands in %s, too: they are alike and count once", own.Name, other)
			aside = append(aside, p)
		default:
			s.fail(spot{file: source, field: "metadata.name"},
				"another MachineConfig %s stands in %s, and not what this file stands for: run butane again, or list one of them", own.Name, other)
		}
	}
	if len(aside) == 0 {
		return
	}
	body, err := k.without(aside)
	if err == nil {
		err = s.memory.WriteFile("/"+at, body)
	}
	if err != nil {
		s.fail(in(at), "%v", err)
	}
}

// twin is the MachineConfig of that name in a YAML file that a kustomization lists.
func (s *scan) twin(dir string, k *kustomization, name string) (string, *manifest.Manifest) {
	for _, p := range k.Resources {
		at := path.Join(dir, p)
		f := s.files[at]
		if f == nil || !f.yaml || !bytes.Contains(f.data, []byte(name)) {
			continue
		}
		for _, doc := range manifest.Documents(f.text()) {
			// One with mistakes is named in what is taken of it: here it only is another one.
			if m, _ := manifest.Parse(doc); m.Name == name {
				return at, &m
			}
		}
	}
	return "", nil
}

// without is the file as kustomize shall read it, less some of its resources.
func (k *kustomization) without(aside []string) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(k.body, &fields); err != nil {
		return nil, err
	}
	for name := range fields {
		if strings.EqualFold(name, "resources") {
			delete(fields, name)
		}
	}
	left := slices.DeleteFunc(slices.Clone(k.Resources), func(p string) bool { return slices.Contains(aside, p) })
	var err error
	if fields["resources"], err = json.Marshal(left); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// registered is what kustomize says of the second of one name.
var registered = regexp.MustCompile(`already registered id: ([^./]+)\.[^/]*/(\S+)\.[^.\s]+`)

// sameName says where the two stand that kustomize found to have one name.
func (s *scan) sameName(at string, err error) bool {
	m := registered.FindStringSubmatch(err.Error())
	if m == nil {
		return false
	}
	kind, name := m[1], m[2]
	var found []spot
	for _, file := range s.resources {
		for _, h := range s.heads(file) {
			if h.kind == kind && h.name == name {
				found = append(found, spot{file, h.line, "metadata.name"})
			}
		}
	}
	switch n := len(found); {
	case n > 1 && found[0].file == found[n-1].file:
		s.fail(found[n-1], "another %s %s stands in the same file: give one of them another name", kind, name)
	case n > 1:
		s.fail(found[n-1], "another %s %s stands in %s: give one of them another name, or list one of them", kind, name, found[0].file)
	case n == 1:
		s.fail(in(at), "takes the %s %s of %s twice: list it, or what includes it, once", kind, name, found[0].file)
	default:
		s.fail(in(at), "two resources come out as %s %s: give one of them another name", kind, name)
	}
	return true
}

// head is what tells one document from others.
type head struct {
	kind, name string
	line       int // of the name; 0 where it is not written
}

func (s *scan) heads(file string) (out []head) {
	f := s.files[file]
	if f == nil {
		return nil
	}
	contents := f.text()
	if f.manifest != nil {
		contents = f.manifest
	}
	docs, err := parse(contents)
	if err != nil {
		return nil
	}
	for len(docs) > 0 {
		n := docs[0]
		docs = docs[1:]
		if items := value(n, "items"); items != nil && items.Kind == yaml.SequenceNode {
			docs = append(docs, items.Content...)
		}
		kind, name := value(n, "kind"), value(value(n, "metadata"), "name")
		if kind == nil || name == nil {
			continue
		}
		h := head{kind.Value, name.Value, name.Line}
		if f.manifest != nil {
			h.line = 0
		}
		out = append(out, h)
	}
	return out
}
