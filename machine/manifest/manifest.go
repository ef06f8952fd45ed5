// Package manifest reads and writes a machine.Config as the MachineConfig manifest that it
// amounts to, so that the controller, the command line and a node agree on every byte.
package manifest

import (
	"encoding/json"
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
}

// Spec is what a MachineConfig asks for, with its Ignition config translated to 3.5.
type Spec struct {
	Ignition        types.Config
	OSImageURL      string
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

// Parse reads one MachineConfig, YAML or JSON. It is strict: a field that the type does not
// have is an error, since a misspelt one would otherwise be left out in silence. Ignition 3.0 to
// 3.5 are read. The error is an Errors.
func Parse(doc []byte) (Manifest, error) {
	if n := len(Documents(doc)); n != 1 {
		return Manifest{}, Errors{{Why: fmt.Sprintf("holds %d YAML documents, expected one", n)}}
	}
	encoded, err := FromYAML(doc)
	if err != nil {
		return Manifest{}, Errors{{Why: err.Error()}}
	}
	var mc mcfg.MachineConfig
	errs := Decode(encoded, &mc)
	if mc.APIVersion != APIVersion || mc.Kind != Kind {
		return Manifest{}, append(errs, Error{Why: fmt.Sprintf("is %s %s, expected %s %s", mc.APIVersion, mc.Kind, APIVersion, Kind)})
	}
	if mc.Name == "" && !errs.at("metadata.name") {
		errs.add("metadata.name", "is missing")
	}
	if mc.Spec.BaseOSExtensionsContainerImage != "" {
		errs.add("spec.baseOSExtensionsContainerImage", "is not rendered by this version: remove it")
	}
	m := Manifest{Name: mc.Name, Labels: mc.Labels, Spec: Spec{
		OSImageURL:      mc.Spec.OSImageURL,
		KernelArguments: mc.Spec.KernelArguments,
		Extensions:      mc.Spec.Extensions,
		KernelType:      mc.Spec.KernelType,
		FIPS:            mc.Spec.FIPS,
	}}
	ignition, warnings, bad := parseIgnition(mc.Spec.Config.Raw)
	m.Spec.Ignition, m.Warnings = ignition, warnings
	return m, append(errs, bad...).orNil()
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
	OSImageURL      string          `json:"osImageURL,omitempty"`
	KernelArguments []string        `json:"kernelArguments,omitempty"`
	Extensions      []string        `json:"extensions,omitempty"`
	KernelType      string          `json:"kernelType,omitempty"`
	FIPS            bool            `json:"fips,omitempty"`
}
