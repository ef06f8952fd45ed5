//lint:file-ignore SA1019 repositories still use the old fields

package kustomize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/render"
)

// overlayFiles scans a directory with a kustomization and all that it includes. It answers what
// kustomize will read for it: a base that is included twice is read twice, and a ladder of such
// bases would keep it busy for ever.
func (s *scan) overlayFiles(dir string, from spot) cost {
	if known, begun := s.costs[dir]; begun {
		if known == nil {
			s.fail(from, "%q includes itself", dir)
			return cost{loads: 1}
		}
		return *known
	}
	s.costs[dir] = nil
	sum := cost{loads: 1}
	at, k := s.kustomization(dir, from)
	if k != nil {
		for _, ref := range references(k.Kustomization) {
			sum.add(s.reference(dir, at, k, ref))
			if why := sum.over(); why != "" {
				s.fail(k.spot(at, ref.field), "%s", why)
				break
			}
		}
		s.inlinePatches(at, k, &sum)
		s.twins(dir, at, k)
		s.layers = append(s.layers, layer{at, k})
	}
	s.costs[dir] = &sum
	return sum
}

func (s *scan) reference(dir, at string, k *kustomization, ref reference) cost {
	if ref.inline && inlined(ref.path) {
		return cost{loads: 1}
	}
	target, why := s.resolve(dir, ref.path)
	switch isDir := target != "" && s.place(target).kind == folder; {
	case why != "":
		s.fail(k.spot(at, ref.field), "%s", why)
	case isDir && ref.dir:
		return s.overlayFiles(target, k.spot(at, ref.field))
	case isDir:
		s.fail(k.spot(at, ref.field), "%q is a directory, a file is needed", ref.path)
	case !ref.file:
		s.fail(k.spot(at, ref.field), "%q is a file, a directory is needed", ref.path)
	default:
		c := s.load(target, !ref.opaque)
		if ref.resource {
			s.resources = append(s.resources, target)
		}
		if ref.patch {
			c.copies = copies(s.file(target).data)
		}
		if ref.patch || ref.inline {
			keyless(s.file(target).data, func(line int, field, key string) {
				s.fail(spot{file: target, line: line, field: field}, lostList, key)
			})
		}
		return c
	}
	return cost{loads: 1}
}

// inlinePatches are YAML inside of YAML.
func (s *scan) inlinePatches(at string, k *kustomization, sum *cost) {
	check := func(field, patch string) {
		if patch == "" {
			return
		}
		if err := inspect([]byte(patch)); err != nil {
			s.build.Errors = append(s.build.Errors, flaw(k.spot(at, field), err))
		}
		sum.copies += copies([]byte(patch))
		keyless([]byte(patch), func(_ int, inner, key string) {
			s.fail(k.spot(at, field), "%s "+lostList, inner, key)
		})
	}
	for i, p := range k.Patches {
		check(fmt.Sprintf("patches[%d].patch", i), p.Patch)
	}
	for i, p := range k.PatchesJson6902 {
		check(fmt.Sprintf("patchesJson6902[%d].patch", i), p.Patch)
	}
	for i, p := range k.PatchesStrategicMerge {
		if inlined(string(p)) {
			check(fmt.Sprintf("patchesStrategicMerge[%d]", i), string(p))
		}
	}
	if why := sum.over(); why != "" && sum.copies > maxCopies {
		s.fail(in(at), "%s", why)
	}
}

// copies counts the operations of a JSON patch that can double what they work on.
func copies(patch []byte) int {
	if !bytes.Contains(patch, []byte("op")) && !bytes.Contains(patch, []byte(`\`)) {
		return 0
	}
	docs, err := parse(patch)
	n := 0
	for _, d := range docs {
		if err != nil || len(d.Content) == 0 || d.Content[0].Kind != yaml.SequenceNode {
			continue
		}
		for _, op := range d.Content[0].Content {
			for i := 1; i < len(op.Content); i += 2 {
				if value := op.Content[i]; value.Value == "copy" || value.Kind == yaml.AliasNode {
					n++
				}
			}
		}
	}
	return n
}

// kustomization is a kustomization file that has been read.
type kustomization struct {
	types.Kustomization
	node  *yaml.Node    // as it is written
	body  []byte        // as kustomize shall read it
	aside string        // a notice of what was left out
	errs  render.Errors // what is wrong with it by itself
}

// kustomization reads the one kustomization file of a directory; nil if it cannot be used.
func (s *scan) kustomization(dir string, from spot) (string, *kustomization) {
	at := s.kustomizationIn(dir)
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		other := path.Join(dir, name)
		s.saw[other] = true
		if kind := s.place(other).kind; at != "" && other != at && (kind == regular || kind == refused) {
			s.fail(in(other), "stands beside %s: keep one of them", at)
			return at, nil
		}
	}
	if at == "" {
		s.fail(from, "%q has no kustomization.yaml", dir)
		return at, nil
	}
	if why := s.place(at).why; why != "" {
		s.fail(in(at), "%s", why)
		return at, nil
	}
	before := len(s.build.Errors)
	s.load(at, true)
	if len(s.build.Errors) > before {
		return at, nil
	}
	f := s.file(at)
	if f.overlay == nil {
		f.overlay = newKustomization(at, f)
	}
	s.build.Errors = append(s.build.Errors, f.overlay.errs...)
	s.renames = s.renames || f.overlay.NamePrefix != "" || f.overlay.NameSuffix != ""
	if f.overlay.body == nil {
		return at, nil
	}
	if f.overlay.aside != "" {
		s.notice(at, "%s", f.overlay.aside)
	}
	if err := s.memory.WriteFile("/"+at, f.overlay.body); err != nil {
		s.fail(in(at), "%v", err)
	}
	return at, f.overlay
}

func newKustomization(at string, f *file) *kustomization {
	k := &kustomization{}
	fail := func(field, format string, args ...any) {
		k.errs = append(k.errs, mistake(k.spot(at, field), format, args...))
	}
	contents := bytes.TrimPrefix(f.data, mark)
	docs, err := parse(contents)
	if err != nil {
		k.errs = append(k.errs, flaw(in(at), err))
		return k
	}
	if len(docs) > 0 && len(docs[0].Content) > 0 {
		k.node = docs[0].Content[0]
	}
	if err := k.Unmarshal(contents); err != nil {
		why := strings.TrimPrefix(tidy(err), "invalid Kustomization: ")
		if field, unknown := strings.CutPrefix(why, "json: unknown field "); unknown {
			fail(strings.Trim(field, `"`), "is not a known field of a kustomization")
		} else {
			fail("", "%s", why)
		}
		return k
	}
	for _, f := range programs(k.Kustomization) {
		if f.set {
			fail(f.field, "%s", f.why)
		}
	}
	if len(k.OpenAPI) > 0 {
		k.aside = fmt.Sprintf("openapi on line %d is set aside: MachineConfigs are patched by path and by name without it", k.spot(at, "openapi").line)
	}
	if k.body, err = k.forKustomize(contents); err != nil {
		fail("", "%v", err)
	}
	return k
}

// forKustomize is the file without a schema of its own, which would leak into later builds, and
// with the wish that kustomize notes where each document was written.
func (k *kustomization) forKustomize(contents []byte) ([]byte, error) {
	encoded, err := k8syaml.YAMLToJSON(contents)
	if err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(encoded, &fields); err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, fmt.Errorf("is empty: list what it builds below resources")
	}
	for name := range fields {
		if strings.EqualFold(name, "buildMetadata") || strings.EqualFold(name, "openapi") {
			delete(fields, name)
		}
	}
	metadata := slices.Clone(k.BuildMetadata)
	if !slices.Contains(metadata, types.OriginAnnotations) {
		metadata = append(metadata, types.OriginAnnotations)
	}
	if fields["buildMetadata"], err = json.Marshal(metadata); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// program is a field that would run programs, or reach out for what is not in the repository.
type program struct {
	field string
	set   bool
	why   string
}

func programs(k types.Kustomization) []program {
	const charts = "charts are not rendered: commit the output of helm template"
	return []program{
		{"helmCharts", len(k.HelmCharts) > 0, charts},
		{"helmGlobals", k.HelmGlobals != nil, charts},
		{"helmChartInflationGenerator", len(k.HelmChartInflationGenerator) > 0, charts},
		{"generators", len(k.Generators) > 0, "plugins are not run: commit what the generator makes"},
		{"transformers", len(k.Transformers) > 0, "plugins are not run: use patches, labels, replacements"},
		{"validators", len(k.Validators) > 0, "plugins are not run: remove it"},
	}
}

// spot is where a field, such as patches[1].path, is written, or as close as that can be said.
func (k *kustomization) spot(file, field string) spot {
	out := spot{file: file, field: field}
	n := k.node
	for step := range strings.SplitSeq(strings.NewReplacer("[", ".", "]", "").Replace(field), ".") {
		if n != nil && n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n == nil {
			break
		}
		var next *yaml.Node
		if i, err := strconv.Atoi(step); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
			next = n.Content[i]
			out.line = next.Line
		} else if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				if strings.EqualFold(n.Content[i].Value, step) {
					out.line, next = n.Content[i].Line, n.Content[i+1]
				}
			}
		}
		n = next
	}
	return out
}
