package crio

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

func object(t *testing.T, fields string) []byte {
	t.Helper()
	encoded, err := manifest.FromYAML([]byte("apiVersion: machineconfiguration.openshift.io/v1\nkind: ContainerRuntimeConfig\nmetadata: {name: c}\nspec: {containerRuntimeConfig: " + fields + "}\n"))
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, fields string
		on           machine.Profile
		want         string
	}{
		{"nothing is asked for", "{}", "", ""},
		{"no configuration at all", "null", "", "spec.containerRuntimeConfig: is missing"},
		{"an unknown field", "{pidLimit: 5}", "", "spec.containerRuntimeConfig.pidLimit: is not a known field: check its spelling and its place"},
		{"the least limit of processes", "{pidsLimit: 20}", "", ""},
		{"no limit of processes", "{pidsLimit: 0}", "", ""},
		{"too few processes", "{pidsLimit: 19}", "", "spec.containerRuntimeConfig.pidsLimit: 19 is less than 20: containers would not start"},
		{"a negative number of processes", "{pidsLimit: -1}", "", "spec.containerRuntimeConfig.pidsLimit: -1 is less than 20: containers would not start"},
		{"the finest log level", "{logLevel: trace}", "", ""},
		{"an unknown log level", "{logLevel: loud}", "", `spec.containerRuntimeConfig.logLevel: "loud" is none of fatal, panic, error, warn, info, debug, trace`},
		{"a log of 8Ki", "{logSizeMax: 8Ki}", "", "spec.containerRuntimeConfig.logSizeMax: 8Ki is not more than 8Ki: write more, or -1 for no limit"},
		{"a log just larger", "{logSizeMax: 8193}", "", ""},
		{"a log without limit", "{logSizeMax: -1}", "", ""},
		{"a negative overlay", "{overlaySize: -1G}", "", "spec.containerRuntimeConfig.overlaySize: -1G is negative"},
		{"an unknown runtime", "{defaultRuntime: runsc}", "", `spec.containerRuntimeConfig.defaultRuntime: "runsc" is none of runc, crun`},
		{"a size that is none", "{logSizeMax: much, pidsLimit: 100}", "", "spec.containerRuntimeConfig.logSizeMax: is not an amount of bytes, as 100Mi or 8G are"},
		{
			"a store without an absolute path", "{additionalImageStores: [{path: a}]}", "",
			"spec.containerRuntimeConfig.additionalImageStores[0].path: is not an absolute path of letters, digits, /, ., _ and -",
		},
		{
			"a store twice", "{additionalArtifactStores: [{path: /a}, {path: /a}]}", "",
			"spec.containerRuntimeConfig.additionalArtifactStores[1].path: stands twice: keep one of them",
		},
		{
			"too many stores", "{additionalLayerStores: [{path: /a}, {path: /b}, {path: /c}, {path: /d}, {path: /e}, {path: /f}]}", "",
			"spec.containerRuntimeConfig.additionalLayerStores: lists 6 stores, and 5 are the most",
		},
		{
			"a node that runs containerd", "{logLevel: debug}", machine.K3s,
			"kind: ContainerRuntimeConfig is for CRI-O, and nodes of the profile k3s run containerd: write its configuration in a MachineConfig",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			c, err := Parse(object(t, tt.fields))
			if err == nil {
				_, err = Files(c, tt.on)
			}
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	const pids = dropIns + "pidsLimit"
	for _, tt := range []struct {
		name, fields string
		want         map[string]map[string]any
	}{
		{"nothing is asked for", "{}", map[string]map[string]any{}},
		{"processes", "{pidsLimit: 2048}", map[string]map[string]any{pids: runtimeTable("pids_limit", int64(2048))}},
		{"no limit of processes", "{pidsLimit: 0}", map[string]map[string]any{pids: runtimeTable("pids_limit", int64(0))}},
		{"log level", "{logLevel: debug}", map[string]map[string]any{dropIns + "logLevel": runtimeTable("log_level", "debug")}},
		{"log size", "{logSizeMax: 100Ki}", map[string]map[string]any{dropIns + "logSizeMax": runtimeTable("log_size_max", int64(102400))}},
		{"a log without limit", "{logSizeMax: -1}", map[string]map[string]any{dropIns + "logSizeMax": runtimeTable("log_size_max", int64(-1))}},
		{"a log size of 0 is none", "{logSizeMax: 0}", map[string]map[string]any{}},
		{"runtime", "{defaultRuntime: runc}", map[string]map[string]any{dropIns + "defaultRuntime": runtimeTable("default_runtime", "runc")}},
		{"overlay", "{overlaySize: 8G}", map[string]map[string]any{storageConf: {"storage": map[string]any{
			"driver": "overlay", "runroot": "/var/run/containers/storage", "graphroot": "/var/lib/containers/storage",
			"options": map[string]any{"additionalimagestores": []any{}, "size": "8G"},
		}}}},
		{"stores of images and layers", "{additionalImageStores: [{path: /mnt/b}, {path: /mnt/a}], additionalLayerStores: [{path: /var/lib/l}]}", map[string]map[string]any{storageConf: {"storage": map[string]any{
			"driver": "overlay", "runroot": "/var/run/containers/storage", "graphroot": "/var/lib/containers/storage",
			"options": map[string]any{"additionalimagestores": []any{"/mnt/b", "/mnt/a"}, "additionallayerstores": []any{"/var/lib/l:ref"}},
		}}}},
		{"stores of artifacts", "{additionalArtifactStores: [{path: /mnt/a}]}", map[string]map[string]any{
			dropIns + "additionalArtifactStores": runtimeTable("additional_artifact_stores", []any{"/mnt/a"}),
		}},
		{"an overlay of 0 is none", "{overlaySize: 0}", map[string]map[string]any{}},
		{"each field has its own file", "{logLevel: info, pidsLimit: 100}", map[string]map[string]any{
			pids: runtimeTable("pids_limit", int64(100)), dropIns + "logLevel": runtimeTable("log_level", "info"),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(object(t, tt.fields))
			if err != nil {
				t.Fatal(err)
			}
			files, err := Files(c, machine.OpenShift)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]map[string]any{}
			for i, f := range files {
				var table map[string]any
				if err := toml.Unmarshal(f.Contents, &table); err != nil {
					t.Fatalf("%s: %v\n%s", f.Path, err, f.Contents)
				}
				if f.Mode != 0o644 || i > 0 && files[i-1].Path >= f.Path {
					t.Errorf("%s: mode %#o, out of order", f.Path, f.Mode)
				}
				got[f.Path] = table
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func runtimeTable(field string, value any) map[string]any {
	return map[string]any{"crio": map[string]any{"runtime": map[string]any{field: value}}}
}

// Whatever is read without a mistake gives files that are TOML.
func FuzzParse(f *testing.F) {
	for _, fields := range []string{`{"pidsLimit":100}`, `{"logSizeMax":"-1","overlaySize":"1.5G"}`, `{"logLevel":"debug","defaultRuntime":"crun"}`, `null`} {
		f.Add([]byte(`{"kind":"ContainerRuntimeConfig","metadata":{"name":"c"},"spec":{"containerRuntimeConfig":` + fields + `}}`))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := Parse(doc)
		if err != nil {
			return
		}
		files, err := Files(c, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if err := toml.Unmarshal(file.Contents, &map[string]any{}); err != nil || !strings.HasPrefix(file.Path, "/etc/") {
				t.Errorf("%s: %v\n%s", file.Path, err, file.Contents)
			}
		}
	})
}
