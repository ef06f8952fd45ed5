//lint:file-ignore SA1019 repositories still use the old fields

package kustomize

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// reference is one path in a kustomization.
type reference struct {
	field, path string
	file, dir   bool // what it may be
	opaque      bool // contents of any kind, not YAML
	inline      bool // may also be the patch itself
	patch       bool // may be a JSON patch
	resource    bool // stands for itself
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
	add("resources", reference{file: true, dir: true, resource: true}, k.Resources...)
	add("bases", reference{dir: true}, k.Bases...)
	add("components", reference{dir: true}, k.Components...)
	add("crds", reference{file: true}, k.Crds...)
	add("configurations", reference{file: true}, k.Configurations...)
	for _, p := range k.PatchesStrategicMerge {
		add("patchesStrategicMerge", reference{file: true, inline: true}, string(p))
	}
	for i, p := range k.Patches {
		one(reference{file: true, patch: true}, fmt.Sprintf("patches[%d].path", i), p.Path)
	}
	for i, p := range k.PatchesJson6902 {
		one(reference{file: true, patch: true}, fmt.Sprintf("patchesJson6902[%d].path", i), p.Path)
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
