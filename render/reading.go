package render

import (
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

// reading is what a MachineConfig says by itself, wherever it stands.
type reading struct {
	manifest.Manifest
	own      machine.Config
	rendered bool  // by a controller: nothing else is known of it
	wrong    error // of the manifest, or of what it asks for
	whole    bool  // the manifest itself could be read
}

// reading reads a MachineConfig once, however many overlays take it from their base. What it
// gives is shared: nothing may change it.
func (r *reader) reading(encoded []byte) reading {
	if one, known := r.known[string(encoded)]; known {
		return one
	}
	one := reading{rendered: renderedByController(encoded)}
	if !one.rendered {
		one.Manifest, one.wrong = manifest.Parse(encoded)
		one.whole = one.wrong == nil
	}
	if one.whole {
		one.own, one.wrong = manifest.Config(one.Spec)
	}
	r.known[string(encoded)] = one
	return one
}
