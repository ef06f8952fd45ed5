// Package crio turns a ContainerRuntimeConfig into the files that CRI-O reads, one drop-in per
// field as MCO main does. It is pure.
package crio

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	mcfg "github.com/openshift/api/machineconfiguration/v1"
	"github.com/pelletier/go-toml/v2"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

const (
	inConfig    = "spec.containerRuntimeConfig"
	dropIns     = "/etc/crio/crio.conf.d/01-ctrcfg-"
	storageConf = "/etc/containers/storage.conf"

	minPids    = 20
	minLogSize = 8192 // bytes; what conmon reads at once

	missing = "is missing"
)

var logLevels = []string{"fatal", "panic", "error", "warn", "info", "debug", "trace"}

// Parse reads one ContainerRuntimeConfig in JSON, strictly, and holds its values to the bounds of
// MCO main. The error is a manifest.Errors.
func Parse(encoded []byte) (mcfg.ContainerRuntimeConfig, error) {
	var c mcfg.ContainerRuntimeConfig
	errs := append(sizes(encoded), manifest.Decode(encoded, &c)...)
	if len(errs) > 0 && errs[0].Field != "" { // the decoder does not say where a size stands that it cannot read
		errs = slices.DeleteFunc(errs, func(e manifest.Error) bool { return e.Field == "" })
	}
	whole := len(errs) == 0
	for _, e := range mistakes(c) {
		if whole || e.Why != missing { // which may be only a value that did not fit
			errs = append(errs, e)
		}
	}
	if len(errs) > 0 {
		return mcfg.ContainerRuntimeConfig{}, errs
	}
	return c, nil
}

// sizes are those that are no amounts of bytes. A decoder stops at them without a name.
func sizes(encoded []byte) (errs manifest.Errors) {
	var in struct {
		Spec struct {
			Config map[string]any `json:"containerRuntimeConfig"`
		} `json:"spec"`
	}
	if json.Unmarshal(encoded, &in) != nil {
		return nil
	}
	for _, field := range []string{"logSizeMax", "overlaySize"} {
		if s, ok := in.Spec.Config[field].(string); ok {
			if _, err := resource.ParseQuantity(s); err != nil {
				errs = append(errs, manifest.Error{Field: inConfig + "." + field, Why: "is not an amount of bytes, as 100Mi or 8G are"})
			}
		}
	}
	return errs
}

func mistakes(c mcfg.ContainerRuntimeConfig) (errs manifest.Errors) {
	add := func(field, format string, args ...any) {
		errs = append(errs, manifest.Error{Field: field, Why: fmt.Sprintf(format, args...)})
	}
	if c.Name == "" {
		add("metadata.name", missing)
	}
	r := c.Spec.ContainerRuntimeConfig
	if r == nil {
		add(inConfig, missing)
		return errs
	}
	if p := r.PidsLimit; p != nil && *p != 0 && *p < minPids {
		add(inConfig+".pidsLimit", "%d is less than %d: containers would not start", *p, minPids)
	}
	if r.LogLevel != "" && !slices.Contains(logLevels, r.LogLevel) {
		add(inConfig+".logLevel", "%q is none of %s", r.LogLevel, strings.Join(logLevels, ", "))
	}
	if s := r.LogSizeMax; s != nil && s.Value() > 0 && s.Value() <= minLogSize {
		add(inConfig+".logSizeMax", "%s is not more than 8Ki: write more, or -1 for no limit", s)
	}
	if s := r.OverlaySize; s != nil && s.Value() < 0 {
		add(inConfig+".overlaySize", "%s is negative", s)
	}
	switch r.DefaultRuntime {
	case "", mcfg.ContainerRuntimeDefaultRuntimeRunc, mcfg.ContainerRuntimeDefaultRuntimeCrun:
	default:
		add(inConfig+".defaultRuntime", "%q is none of runc, crun", r.DefaultRuntime)
	}
	return append(errs, storesOf(*r).mistakes()...)
}

// runtime is the one table of crio.conf that a ContainerRuntimeConfig sets. Each drop-in holds
// one field: a zero one would replace CRI-O's default.
type runtime struct {
	LogLevel       string `toml:"log_level,omitempty"`
	PidsLimit      *int64 `toml:"pids_limit,omitempty"`
	LogSizeMax     int64  `toml:"log_size_max,omitempty"`
	DefaultRuntime string `toml:"default_runtime,omitempty"`

	ArtifactStores []string `toml:"additional_artifact_stores,omitempty"`
}

type storage struct {
	Driver    string  `toml:"driver"`
	RunRoot   string  `toml:"runroot"`
	GraphRoot string  `toml:"graphroot"`
	Options   options `toml:"options"`
}

type options struct {
	ImageStores []string `toml:"additionalimagestores"`
	LayerStores []string `toml:"additionallayerstores,omitempty"`
	Size        string   `toml:"size,omitempty"`
}

// Files are what the nodes of a pool get, sorted by path. storage.conf is whole: OpenShift's
// documented defaults with the size and the stores in them. Only the nodes of the profile openshift run CRI-O;
// for others the error, a manifest.Errors, says so.
func Files(c mcfg.ContainerRuntimeConfig, p machine.Profile) ([]machine.File, error) {
	if p != "" && p != machine.OpenShift {
		return nil, manifest.Errors{{Field: "kind", Why: fmt.Sprintf("%s is for CRI-O, and nodes of the profile %s run containerd: write its configuration in a MachineConfig", c.Kind, p)}}
	}
	r := c.Spec.ContainerRuntimeConfig
	var files []machine.File
	add := func(path string, table any) {
		files = append(files, machine.File{Path: path, Mode: 0o644, Contents: encode(table)})
	}
	dropIn := func(field string, r runtime) {
		add(dropIns+field, map[string]map[string]runtime{"crio": {"runtime": r}})
	}
	stores := storesOf(*r)
	o := options{ImageStores: stores.images, LayerStores: stores.byReference()}
	if s := r.OverlaySize; s != nil && s.Value() != 0 {
		o.Size = s.String()
	}
	if o.Size != "" || len(o.ImageStores)+len(o.LayerStores) > 0 {
		add(storageConf, map[string]storage{"storage": {
			Driver: "overlay", RunRoot: "/var/run/containers/storage", GraphRoot: "/var/lib/containers/storage", Options: o,
		}})
	}
	if len(stores.artifacts) > 0 {
		dropIn("additionalArtifactStores", runtime{ArtifactStores: stores.artifacts})
	}
	if r.DefaultRuntime != "" {
		dropIn("defaultRuntime", runtime{DefaultRuntime: string(r.DefaultRuntime)})
	}
	if r.LogLevel != "" {
		dropIn("logLevel", runtime{LogLevel: r.LogLevel})
	}
	if s := r.LogSizeMax; s != nil && s.Value() != 0 {
		dropIn("logSizeMax", runtime{LogSizeMax: s.Value()})
	}
	if r.PidsLimit != nil {
		dropIn("pidsLimit", runtime{PidsLimit: r.PidsLimit})
	}
	return files, nil
}

func encode(table any) []byte {
	out, err := toml.Marshal(table)
	if err != nil {
		panic("crio: a table cannot be written: " + err.Error())
	}
	return out
}
