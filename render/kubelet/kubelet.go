// Package kubelet turns a KubeletConfig into the files that a node's kubelet reads. It is pure.
//
// On an OpenShift node the file is /etc/kubernetes/kubelet.conf, whole: the settings that
// OpenShift documents for its nodes (see base), with the author's fields over them. What only a
// cluster knows is not in that base: feature gates, the worker latency profile, and the TLS
// profile of the API server; Intermediate stands for the last.
//
// On other nodes the base is empty and the file is a drop-in, which the kubelet lays over the
// configuration that kubeadm or k3s wrote. To replace that whole would take the cluster's DNS and
// certificates away.
package kubelet

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	mcfg "github.com/openshift/api/machineconfiguration/v1"
	"k8s.io/kubelet/config/v1beta1"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

const inConfig = "spec.kubeletConfig"

// Config is one KubeletConfig as its author wrote it.
type Config struct {
	mcfg.KubeletConfig
	typed  v1beta1.KubeletConfiguration
	values map[string]any // the author's fields, numbers as they were written
}

// Parse reads one KubeletConfig in JSON. It is strict: a field that the kubelet does not know is
// an error, since the kubelet of a node would refuse to start with it. Rules that depend on the
// kind of node are those of Config.Rules. The error is a manifest.Errors; with one, the Config
// holds what could be read.
func Parse(encoded []byte) (Config, error) {
	var c Config
	errs := manifest.Decode(encoded, &c.KubeletConfig)
	if c.Name == "" && len(errs) == 0 {
		errs = append(errs, manifest.Error{Field: "metadata.name", Why: "is missing"})
	}
	if raw := c.Spec.KubeletConfig; raw != nil && len(raw.Raw) > 0 {
		errs = append(errs, c.read(raw.Raw)...)
	}
	errs = append(errs, c.always()...)
	if len(errs) > 0 {
		return c, errs
	}
	return c, nil
}

func (c *Config) read(raw []byte) manifest.Errors {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // a float would write 1e+07 for ten million
	if err := d.Decode(&c.values); err != nil {
		return manifest.Errors{{Field: inConfig, Why: "is not an object"}}
	}
	errs := below(inConfig, manifest.Decode(raw, &c.typed))
	if i := slices.IndexFunc(errs, func(e manifest.Error) bool { return e.Field == inConfig }); i >= 0 {
		errs = append(errs[:i:i], c.locate()...)
	}
	if v := c.typed.APIVersion; v != "" && v != v1beta1.SchemeGroupVersion.String() {
		errs = append(errs, manifest.Error{Field: inConfig + ".apiVersion", Why: v + " is not known: write " + v1beta1.SchemeGroupVersion.String()})
	}
	if k := c.typed.Kind; k != "" && k != kind {
		errs = append(errs, manifest.Error{Field: inConfig + ".kind", Why: k + " is not " + kind})
	}
	return errs
}

// locate finds the fields that do not decode by reading each alone: a value that has a form of
// its own, as a time has, does not say where it stands.
func (c *Config) locate() (errs manifest.Errors) {
	for _, name := range slices.Sorted(maps.Keys(c.values)) {
		alone, err := json.Marshal(map[string]any{name: c.values[name]})
		if err != nil {
			continue
		}
		for _, e := range manifest.Decode(alone, new(v1beta1.KubeletConfiguration)) {
			if e.Field == "" {
				e = manifest.Error{Field: name, Why: "is not of the form that the kubelet reads: a time is written as 10s or 5m"}
			}
			errs = append(errs, below(inConfig, manifest.Errors{e})...)
		}
	}
	return errs
}

// below moves mistakes to where the decoded part stands.
func below(prefix string, errs manifest.Errors) manifest.Errors {
	for i := range errs {
		if errs[i].Field == "" {
			errs[i].Field = prefix
		} else {
			errs[i].Field = prefix + "." + errs[i].Field
		}
	}
	return errs
}
