// Package manifest reads and writes a machine.Config as the MachineConfig manifest that it
// amounts to, so that the controller, the command line and a node agree on every byte.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_5/types"
	mcfg "github.com/openshift/api/machineconfiguration/v1"
)

// The kind that this package reads and writes.
const (
	APIVersion = "machineconfiguration.openshift.io/v1"
	Kind       = "MachineConfig"
)

// Manifest is one MachineConfig as its author wrote it.
type Manifest struct {
	Name     string
	Labels   map[string]string
	Spec     Spec
	Warnings Errors // what was read, but is probably not what its author meant

	// Generated says that a controller wrote it. As in MCO main, its images are those of a
	// release, and give way to what any other MachineConfig sets.
	Generated bool

	HasIgnition bool // it has an Ignition config, be it an empty one
}

// Spec is what a MachineConfig asks for, with its Ignition config translated to 3.5.
type Spec struct {
	Ignition        types.Config
	OSImageURL      string
	ExtensionsImage string // baseOSExtensionsContainerImage
	KernelArguments []string
	Extensions      []string
	KernelType      string
	FIPS            bool
}

// Error is one mistake in a manifest. It never holds contents: they may be secret.
type Error struct{ Field, Why string }

func (e Error) Error() string {
	if e.Field == "" {
		return e.Why
	}
	return e.Field + ": " + e.Why
}

// Errors are all the mistakes of one manifest.
type Errors []Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

func (es *Errors) add(field, format string, args ...any) {
	*es = append(*es, Error{Field: field, Why: fmt.Sprintf(format, args...)})
}

func (es Errors) at(field string) bool {
	return slices.ContainsFunc(es, func(e Error) bool { return e.Field == field })
}

// orNil keeps an empty list from becoming an error that is not nil.
func (es Errors) orNil() error {
	if len(es) == 0 {
		return nil
	}
	return es
}

// Parse reads one MachineConfig, YAML or JSON, with Ignition 2.0 to 2.4 or 3.0 to 3.6. A field
// that the type does not have is dropped, as the API server does, and named in the warnings. The
// error is an Errors.
func Parse(doc []byte) (Manifest, error) {
	if n := len(Documents(doc)); n != 1 {
		return Manifest{}, Errors{{Why: fmt.Sprintf("holds %d YAML documents, expected one", n)}}
	}
	encoded, err := FromYAML(doc)
	if err != nil {
		return Manifest{}, Errors{{Why: err.Error()}}
	}
	var mc mcfg.MachineConfig
	unknown, errs := DecodePruned(encoded, &mc)
	if mc.APIVersion != APIVersion || mc.Kind != Kind {
		return Manifest{}, append(errs, Error{Why: fmt.Sprintf("is %s %s, expected %s %s", mc.APIVersion, mc.Kind, APIVersion, Kind)})
	}
	if mc.Name == "" && !errs.at("metadata.name") {
		errs.add("metadata.name", "is missing")
	}
	m := Manifest{Name: mc.Name, Labels: mc.Labels, Spec: Spec{
		OSImageURL:      mc.Spec.OSImageURL,
		ExtensionsImage: mc.Spec.BaseOSExtensionsContainerImage,
		KernelArguments: mc.Spec.KernelArguments,
		Extensions:      mc.Spec.Extensions,
		KernelType:      mc.Spec.KernelType,
		FIPS:            mc.Spec.FIPS,
	}}
	m.Generated = mc.Annotations[GeneratedBy] != ""
	ignition, warnings, bad := parseIgnition(mc.Spec.Config.Raw)
	m.Spec.Ignition, m.HasIgnition = ignition, mc.Spec.Config.Raw != nil
	m.Warnings = append(misplaced(unknown), warnings...)
	if errs = append(errs, bad...); len(errs) > 0 {
		errs = append(errs, others(m.Spec, errs)...)
	}
	return m, errs.orNil()
}

// others are the mistakes that Config would find, without those in a field that has one already:
// an author should hear everything at once.
func others(s Spec, known Errors) (out Errors) {
	var found Errors
	_, err := Config(s)
	errors.As(err, &found)
	for _, e := range found {
		if !known.at(e.Field) {
			out = append(out, e)
		}
	}
	return out
}

// GeneratedBy is the annotation that MCO gives to what its controllers write.
const GeneratedBy = "machineconfiguration.openshift.io/generated-by-controller-version"

// misplaced tells where the sections of an Ignition config belong, which MCO drops in silence
// where they stand in the spec itself.
func misplaced(unknown Errors) Errors {
	for i, e := range unknown {
		switch e.Field {
		case "spec.ignition", "spec.passwd", "spec.storage", "spec.systemd", "spec.networkd":
			unknown[i].Why = "is not a field of a MachineConfig, so it is ignored: it belongs below " + inConfig
		}
	}
	return unknown
}

// header is what tells one kind of document from another.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels,omitempty"`
	} `json:"metadata"`
	Spec spec `json:"spec"`
}

// spec is MachineConfigSpec without the fields that are empty, which its own type always writes.
type spec struct {
	Config          json.RawMessage `json:"config"`
	ExtensionsImage string          `json:"baseOSExtensionsContainerImage,omitempty"`
	OSImageURL      string          `json:"osImageURL,omitempty"`
	KernelArguments []string        `json:"kernelArguments,omitempty"`
	Extensions      []string        `json:"extensions,omitempty"`
	KernelType      string          `json:"kernelType,omitempty"`
	FIPS            bool            `json:"fips,omitempty"`
}
