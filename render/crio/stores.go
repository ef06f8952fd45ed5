package crio

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	mcfg "github.com/openshift/api/machineconfiguration/v1"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

// stores are further places, read-only, where CRI-O looks before it pulls.
type stores struct{ layers, images, artifacts []string }

func storesOf(r mcfg.ContainerRuntimeConfiguration) stores {
	s := stores{images: []string{}} // MCO main writes the empty list, too
	for _, one := range r.AdditionalLayerStores {
		s.layers = append(s.layers, string(one.Path))
	}
	for _, one := range r.AdditionalImageStores {
		s.images = append(s.images, string(one.Path))
	}
	for _, one := range r.AdditionalArtifactStores {
		s.artifacts = append(s.artifacts, string(one.Path))
	}
	return s
}

// byReference are the layer stores as storage.conf names them: MCO main asks each for layers by
// the reference of their image.
func (s stores) byReference() (out []string) {
	for _, path := range s.layers {
		out = append(out, path+":ref")
	}
	return out
}

var storePath = regexp.MustCompile(`^/[a-zA-Z0-9/._-]+$`)

// mistakes are what the API server of a cluster would refuse.
func (s stores) mistakes() (errs manifest.Errors) {
	for _, list := range []struct {
		name  string
		paths []string
		most  int
	}{{"additionalLayerStores", s.layers, 5}, {"additionalImageStores", s.images, 10}, {"additionalArtifactStores", s.artifacts, 10}} {
		if len(list.paths) > list.most {
			errs = append(errs, manifest.Error{Field: inConfig + "." + list.name, Why: fmt.Sprintf("lists %d stores, and %d are the most", len(list.paths), list.most)})
		}
		for i, path := range list.paths {
			field := fmt.Sprintf("%s.%s[%d].path", inConfig, list.name, i)
			switch {
			case len(path) > 256 || !storePath.MatchString(path) || strings.Contains(path, "//"):
				errs = append(errs, manifest.Error{Field: field, Why: "is not an absolute path of letters, digits, /, ., _ and -"})
			case slices.Contains(list.paths[:i], path):
				errs = append(errs, manifest.Error{Field: field, Why: "stands twice: keep one of them"})
			}
		}
	}
	return errs
}
