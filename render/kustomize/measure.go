//lint:file-ignore SA1019 repositories still use the old fields

package kustomize

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// table is the documents of a build as they are written, to look values up. What is not YAML with
// a kind, as the files of a generator, JSON patches and kustomizations, counts as a whole.
type table struct {
	kinds       map[string][]*yaml.Node
	documents   int64
	often       int64 // a file may be included
	loose       int64 // size of the largest that is no document
	contents    int64 // of the largest that a generator may make a document of
	weights     map[*yaml.Node]int64
	known       map[string][2]int64
	stepsToTake int
}

// least is what a value is counted as that is nowhere written, since kustomize makes some itself.
const least = 64

var plainName = regexp.MustCompile(`^[a-z0-9-]+$`)

func (s *scan) table() *table {
	t := &table{kinds: map[string][]*yaml.Node{}, weights: map[*yaml.Node]int64{}, known: map[string][2]int64{}, stepsToTake: 20_000_000}
	for at := range s.saw {
		f := s.files[at]
		switch {
		case f == nil:
		case f.overlay != nil:
			t.loose = max(t.loose, inlineText(f.overlay))
		case f.manifest != nil:
			t.add(f.manifest)
		case f.yaml:
			t.add(f.text())
		default:
			t.contents = max(t.contents, int64(len(f.data)))
		}
	}
	return t
}

// inlineText is the length of the longest text that a kustomization holds itself.
func inlineText(k *kustomization) (longest int64) {
	texts := []string{}
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) {
		texts = append(texts, p.Patch)
	}
	for _, p := range k.PatchesStrategicMerge {
		texts = append(texts, string(p))
	}
	for _, g := range k.ConfigMapGenerator {
		texts = append(texts, g.LiteralSources...)
	}
	for _, g := range k.SecretGenerator {
		texts = append(texts, g.LiteralSources...)
	}
	for _, values := range []map[string]string{k.CommonLabels, k.CommonAnnotations} {
		for _, v := range values {
			texts = append(texts, v)
		}
	}
	for _, l := range k.Labels {
		for _, v := range l.Pairs {
			texts = append(texts, v)
		}
	}
	for _, text := range texts {
		longest = max(longest, int64(len(text)))
	}
	return longest
}

func (t *table) add(contents []byte) {
	docs, err := parse(contents)
	if err != nil {
		return // kustomize says so
	}
	for _, n := range docs {
		kind := value(n, "kind")
		if kind == nil || strings.HasSuffix(kind.Value, "List") {
			t.loose = max(t.loose, int64(len(contents)))
			continue
		}
		t.kinds[kind.Value] = append(t.kinds[kind.Value], n.Content[0])
		t.documents++
	}
}

// measure is how large the largest value at a path is, in documents of a kind and name, or of any
// where those are "", and in how many places there may be one.
func (t *table) measure(kind, name string, path []string) (largest, places int64) {
	if !plainName.MatchString(name) {
		name = "" // a pattern
	}
	key := kind + "\x00" + name + "\x00" + strings.Join(path, "\x00")
	if known, ok := t.known[key]; ok {
		return known[0], known[1]
	}
	places, largest = 1, max(t.loose, least)
	if kind == "" || kind == "ConfigMap" || kind == "Secret" {
		largest = max(largest, t.contents)
	}
	for k, nodes := range t.kinds {
		if kind != "" && kind != k {
			continue
		}
		for _, n := range nodes {
			if own := value(value(n, "metadata"), "name"); name != "" && own != nil && !strings.Contains(name, own.Value) {
				continue // a prefix or suffix may make the one of the other, nothing else
			}
			size, found := t.at(n, path)
			largest, places = max(largest, size), sum(places, max(1, found))
		}
	}
	if t.stepsToTake < 0 {
		return boundless, boundless // to look further would take as long as what it is to prevent
	}
	places = product(places, t.often)
	t.known[key] = [2]int64{largest, places}
	return largest, places
}

func (t *table) at(n *yaml.Node, path []string) (largest, places int64) {
	if t.stepsToTake--; t.stepsToTake < 0 {
		return boundless, boundless
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if len(path) == 0 {
		return t.weight(n), 1
	}
	for i, child := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && (i%2 == 0 || n.Content[i-1].Value != path[0] && path[0] != "*"):
			continue
		case n.Kind == yaml.SequenceNode && !element(path[0]):
			continue
		}
		size, found := t.at(child, path[1:])
		largest, places = max(largest, size), sum(places, found)
	}
	return largest, places
}

// weight is about what a value takes as text, its aliases expanded.
func (t *table) weight(n *yaml.Node) int64 {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if known, ok := t.weights[n]; ok {
		return known
	}
	size := int64(len(n.Value) + 4)
	for _, child := range n.Content {
		size = sum(size, t.weight(child))
	}
	t.weights[n] = size
	return size
}
