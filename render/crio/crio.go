// Package crio turns a ContainerRuntimeConfig into the files that CRI-O reads, one drop-in per
// field as MCO main does. It is pure.
package crio

import (
	"fmt"
	"slices"
	"strings"

	mcfg "github.com/openshift/api/machineconfiguration/v1"
	"github.com/pelletier/go-toml/v2"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

const (
	inConfig    = "spec.containerRuntimeConfig"
	dropIns     = "/etc/crio/crio.conf.d/01-ctrcfg-"
	storageConf = "/etc/containers/storage.conf"

	minPids    = 20
	minLogSize = 8192 // bytes; what conmon reads at once
)

var logLevels = []string{"fatal", "panic", "error", "warn", "info", "debug", "trace"}

// Parse reads one ContainerRuntimeConfig in JSON, strictly, and holds its values to the bounds of
// MCO main. The error is a manifest.Errors.
func Parse(encoded []byte) (mcfg.ContainerRuntimeConfig, error) {
	var c mcfg.ContainerRuntimeConfig
	errs := manifest.Decode(encoded, &c)
	if len(errs) == 0 {
		errs = mistakes(c)
	}
	if len(errs) > 0 {
		return mcfg.ContainerRuntimeConfig{}, errs
	}
	return c, nil
}

func mistakes(c mcfg.ContainerRuntimeConfig) (errs manifest.Errors) {
	add := func(field, format string, args ...any) {
		errs = append(errs, manifest.Error{Field: field, Why: fmt.Sprintf(format, args...)})
	}
	if c.Name == "" {
		add("metadata.name", "is missing")
	}
	r := c.Spec.ContainerRuntimeConfig
	if r == nil {
		add(inConfig, "is missing")
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
	for field, set := range map[string]bool{
		"additionalLayerStores":    len(r.AdditionalLayerStores) > 0,
		"additionalImageStores":    len(r.AdditionalImageStores) > 0,
		"additionalArtifactStores": len(r.AdditionalArtifactStores) > 0,
	} {
		if set {
			add(inConfig+"."+field, "is not rendered by this version: write the file in a MachineConfig")
		}
	}
	return errs
}

// runtime is the one table of crio.conf that a ContainerRuntimeConfig sets. Each drop-in holds
// one field: a zero one would replace CRI-O's default.
type runtime struct {
	LogLevel       string `toml:"log_level,omitempty"`
	PidsLimit      *int64 `toml:"pids_limit,omitempty"`
	LogSizeMax     int64  `toml:"log_size_max,omitempty"`
	DefaultRuntime string `toml:"default_runtime,omitempty"`
}

type storage struct {
	Driver    string  `toml:"driver"`
	RunRoot   string  `toml:"runroot"`
	GraphRoot string  `toml:"graphroot"`
	Options   options `toml:"options"`
}

type options struct {
	ImageStores []string `toml:"additionalimagestores"`
	Size        string   `toml:"size"`
}

// Files are what the nodes of a pool get, sorted by path. storage.conf is whole: OpenShift's
// documented defaults with the size in them. Only the nodes of the profile openshift run CRI-O;
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
	if s := r.OverlaySize; s != nil && s.Value() != 0 {
		add(storageConf, map[string]storage{"storage": {
			Driver: "overlay", RunRoot: "/var/run/containers/storage", GraphRoot: "/var/lib/containers/storage",
			Options: options{ImageStores: []string{}, Size: s.String()},
		}})
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
