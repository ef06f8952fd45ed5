package kustomize

import (
	"fmt"
	"path"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/sluice-gitops/sluice/render"
)

// one build at a time: kustomize keeps its schema in variables of the process.
var one sync.Mutex

// overlay is a build with a kustomization.
func (s *scan) overlay(dir string) (render.Build, error) {
	b := render.Build{Dir: dir}
	at := s.kustomizationIn(dir)
	if s.overlayFiles(dir, at, ""); len(s.errs) > 0 {
		return b, nil // the next overlay may have mistakes of its own
	}
	resources, err := s.run(dir)
	if err != nil {
		s.fail(at, "", "%s", tidy(err))
		return b, nil
	}
	for _, r := range resources.Resources() {
		file := at
		if origin, err := r.GetOrigin(); err == nil && origin != nil {
			file = written(dir, at, origin)
		}
		if err := r.SetOrigin(nil); err != nil {
			return b, fmt.Errorf("strip origin of a document of %q: %w", file, err)
		}
		body, err := r.MarshalJSON()
		if err != nil {
			return b, fmt.Errorf("encode a document of %q: %w", file, err)
		}
		b.Documents = append(b.Documents, render.Document{File: file, Body: body})
	}
	return b, nil
}

func (s *scan) run(dir string) (out resmap.ResMap, err error) {
	one.Lock()
	defer one.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("kustomize gave up on it: %v", p)
		}
	}()
	options := krusty.MakeDefaultOptions()
	options.PluginConfig = types.DisabledPluginConfig()
	options.LoadRestrictions = types.LoadRestrictionsNone // memory holds what the scan allowed, and no more
	return krusty.MakeKustomizer(options).Run(s.memory, path.Join("/", dir))
}

// written is the file of the repository that an origin names.
func written(dir, at string, origin *resource.Origin) string {
	for _, p := range []string{origin.Path, origin.ConfiguredIn} {
		if p != "" {
			return path.Join(dir, p)
		}
	}
	return at
}

// tidy makes what kustomize says fit for a pull request: one line, paths of the repository, and
// no contents, which some of its errors quote.
func tidy(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if at := strings.Index(text, "patch from ["); at >= 0 {
		text = text[:at] + "patch"
	}
	text = strings.NewReplacer("'/", "'", `"/`, `"`).Replace(text)
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "..."
	}
	return text
}
