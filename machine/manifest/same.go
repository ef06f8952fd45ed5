package manifest

import (
	"maps"
	"reflect"
	"slices"
)

// Same says whether two MachineConfigs ask for the same in any merge, however the contents of
// their files are encoded. Their names do not count.
func Same(a, b Manifest) bool {
	if !maps.Equal(a.Labels, b.Labels) || a.Generated != b.Generated {
		return false
	}
	if reflect.DeepEqual(a.Spec, b.Spec) {
		return true
	}
	left, err := Config(a.Spec)
	if err != nil {
		return false
	}
	right, err := Config(b.Spec)
	return err == nil && left.Digest() == right.Digest() && reflect.DeepEqual(withoutContents(a.Spec), withoutContents(b.Spec))
}

// withoutContents keeps which files have contents: one that has none leaves those of an earlier
// MachineConfig in place.
func withoutContents(s Spec) Spec {
	s.Ignition.Storage.Files = slices.Clone(s.Ignition.Storage.Files)
	for i := range s.Ignition.Storage.Files {
		contents := &s.Ignition.Storage.Files[i].Contents
		if contents.Source != nil {
			contents.Source, contents.Compression = new(string), nil
		}
	}
	return s
}
