package kustomize

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// overlayFiles scans a directory with a kustomization and all that it includes. It answers how many
// loads kustomize will make for it: a base that is included twice is read twice, and a ladder of
// such bases would keep it busy for ever.
func (s *scan) overlayFiles(dir, file, field string) int {
	if cost, begun := s.cost[dir]; begun {
		if cost == 0 {
			s.fail(file, field, "%q includes itself", dir)
		}
		return cost
	}
	s.cost[dir] = 0
	at, k, ok := s.kustomization(dir, file, field)
	if !ok {
		s.cost[dir] = 1
		return 1
	}
	cost := 1
	s.refuse(at, k)
	for _, ref := range references(k) {
		if cost += s.reference(dir, at, ref); cost > maxLoads {
			s.fail(at, ref.field, "includes more than %d files and directories, each as often as it is included", maxLoads)
			break
		}
	}
	s.cost[dir] = cost
	return cost
}

func (s *scan) reference(dir, at string, ref reference) int {
	if ref.inline && inlined(ref.path) {
		return 1
	}
	target, why := s.resolve(dir, ref.path)
	if why != "" {
		s.fail(at, ref.field, "%s", why)
		return 1
	}
	switch isDir := s.isDir(target); {
	case isDir && ref.dir:
		return s.overlayFiles(target, at, ref.field)
	case isDir:
		s.fail(at, ref.field, "%q is a directory, a file is needed", ref.path)
	case !ref.file:
		s.fail(at, ref.field, "%q is a file, a directory is needed", ref.path)
	default:
		s.load(target, at, ref.field, !ref.opaque)
	}
	return 1
}

// kustomization reads the one kustomization file of a directory.
func (s *scan) kustomization(dir, file, field string) (string, types.Kustomization, bool) {
	var k types.Kustomization
	at := s.kustomizationIn(dir)
	if at == "" {
		s.fail(file, field, "%q has no kustomization.yaml", dir)
		return "", k, false
	}
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if other := path.Join(dir, name); other != at && s.walkableFile(other) {
			s.fail(other, "", "stands beside %s: keep one of them", at)
			return "", k, false
		}
	}
	if !s.load(at, at, "", true) {
		return "", k, false
	}
	if err := k.Unmarshal(s.files[at]); err != nil {
		why := strings.TrimPrefix(tidy(err), "invalid Kustomization: ")
		if field, unknown := strings.CutPrefix(why, "json: unknown field "); unknown {
			s.fail(at, strings.Trim(field, `"`), "is not a known field of a kustomization")
		} else {
			s.fail(at, "", "%s", why)
		}
		return "", k, false
	}
	if err := s.withOrigins(at, k.BuildMetadata); err != nil {
		s.fail(at, "", "%v", err)
		return "", k, false
	}
	return at, k, true
}

// withOrigins asks kustomize, in the copy only, to note where each document was written.
func (s *scan) withOrigins(at string, metadata []string) error {
	if slices.Contains(metadata, types.OriginAnnotations) {
		return nil
	}
	encoded, err := yaml.YAMLToJSON(s.files[at])
	if err != nil {
		return err
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(encoded, &fields); err != nil {
		return err
	}
	if len(fields) == 0 {
		return fmt.Errorf("is empty: list what it builds below resources")
	}
	for name := range fields {
		if strings.EqualFold(name, "buildMetadata") {
			delete(fields, name)
		}
	}
	if fields["buildMetadata"], err = json.Marshal(append(slices.Clone(metadata), types.OriginAnnotations)); err != nil {
		return err
	}
	if encoded, err = json.Marshal(fields); err != nil {
		return err
	}
	s.remember(at, encoded)
	return nil
}

// refuse names what would run programs, or change how later builds are read.
func (s *scan) refuse(at string, k types.Kustomization) {
	for _, f := range []struct {
		field string
		set   bool
		why   string
	}{
		{"helmCharts", len(k.HelmCharts) > 0, "charts are not rendered: commit the output of helm template"},
		{"helmGlobals", k.HelmGlobals != nil, "charts are not rendered: commit the output of helm template"},
		{"helmChartInflationGenerator", len(k.HelmChartInflationGenerator) > 0, "charts are not rendered: commit the output of helm template"},
		{"generators", len(k.Generators) > 0, "plugins are not run: commit what the generator makes"},
		{"transformers", len(k.Transformers) > 0, "plugins are not run: use patches, labels, replacements"},
		{"validators", len(k.Validators) > 0, "plugins are not run: remove it"},
		{"openapi", len(k.OpenAPI) > 0, "the schema is Sluice's own: remove it"},
	} {
		if f.set {
			s.fail(at, f.field, "%s", f.why)
		}
	}
}

// reference is one path in a kustomization.
type reference struct {
	field, path string
	file, dir   bool // what it may be
	opaque      bool // contents of any kind, not YAML
	inline      bool // may also be the patch itself
}

func references(k types.Kustomization) []reference {
	var out []reference
	add := func(field string, r reference, paths ...string) {
		for i, p := range paths {
			r.field, r.path = fmt.Sprintf("%s[%d]", field, i), p
			out = append(out, r)
		}
	}
	one := func(r reference, field, p string) {
		if r.field, r.path = field, p; p != "" {
			out = append(out, r)
		}
	}
	add("resources", reference{file: true, dir: true}, k.Resources...)
	add("bases", reference{dir: true}, k.Bases...)
	add("components", reference{dir: true}, k.Components...)
	add("crds", reference{file: true}, k.Crds...)
	add("configurations", reference{file: true}, k.Configurations...)
	for _, p := range k.PatchesStrategicMerge {
		add("patchesStrategicMerge", reference{file: true, inline: true}, string(p))
	}
	for i, p := range k.Patches {
		one(reference{file: true}, fmt.Sprintf("patches[%d].path", i), p.Path)
	}
	for i, p := range k.PatchesJson6902 {
		one(reference{file: true}, fmt.Sprintf("patchesJson6902[%d].path", i), p.Path)
	}
	for i, r := range k.Replacements {
		one(reference{file: true}, fmt.Sprintf("replacements[%d].path", i), r.Path)
	}
	for i, g := range k.ConfigMapGenerator {
		sources(&out, fmt.Sprintf("configMapGenerator[%d]", i), g.KvPairSources)
	}
	for i, g := range k.SecretGenerator {
		sources(&out, fmt.Sprintf("secretGenerator[%d]", i), g.KvPairSources)
	}
	return out
}

func sources(out *[]reference, field string, kv types.KvPairSources) {
	r := reference{file: true, opaque: true}
	for i, f := range kv.FileSources {
		if _, p, named := strings.Cut(f, "="); named {
			f = p
		}
		r.field, r.path = fmt.Sprintf("%s.files[%d]", field, i), f
		*out = append(*out, r)
	}
	for i, f := range append(slices.Clone(kv.EnvSources), kv.EnvSource) {
		if r.field, r.path = fmt.Sprintf("%s.envs[%d]", field, i), f; f != "" {
			*out = append(*out, r)
		}
	}
}

// inlined tells a patch that is written into the kustomization from the path of one. An address
// is never taken for a patch.
func inlined(p string) bool {
	low := strings.ToLower(p)
	if strings.HasPrefix(low, "http://") || strings.HasPrefix(low, "https://") {
		return false
	}
	var object map[string]any
	return yaml.Unmarshal([]byte(p), &object) == nil && len(object) > 0
}
