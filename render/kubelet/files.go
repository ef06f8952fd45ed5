package kubelet

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/machine"
)

const (
	kind          = "KubeletConfiguration"
	staticPodPath = "staticPodPath"
	systemSlice   = "/system.slice"

	openShiftConf = "/etc/kubernetes/kubelet.conf"
	loggingConf   = "/etc/systemd/system/kubelet.service.d/20-logging.conf"
	sizingEnv     = "/etc/node-sizing-enabled.env"

	kubeadmConf = "/etc/kubernetes/kubelet.conf.d/90-kubeletconfig.conf"
	kubeadmUnit = "/etc/systemd/system/kubelet.service.d/20-kubeletconfig.conf"
	k3sConf     = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/90-kubeletconfig.conf"
)

// kubeadmArgs makes the kubelet of a kubeadm node read the drop-in directory: kubeadm's own unit
// names one file only. The variable is the one that kubeadm's unit reserves for it.
const kubeadmArgs = `[Service]
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml --config-dir=/etc/kubernetes/kubelet.conf.d"
`

// Options are what a KubeletConfig does not say of the nodes that it is for.
type Options struct {
	Profile      machine.Profile // "" is openshift
	ControlPlane bool            // the pool is master
	ClusterDNS   string          // OpenShift only; "" is 172.30.0.10, where the service network is the default one
	KeepZero     bool            // false, 0 and "" win over the base, too; MCO main loses them, see over
}

// Files are what the nodes of one pool get, and what its author probably did not mean. Each is
// whole: of several KubeletConfigs of one pool the last one counts, as with MCO. The error is a
// manifest.Errors.
func (c Config) Files(o Options) (files []machine.File, notices []string, err error) {
	if errs := c.Rules(o); len(errs) > 0 {
		return nil, nil, errs
	}
	switch o.Profile {
	case machine.Kubeadm:
		return []machine.File{file(kubeadmConf, c.dropIn()), file(kubeadmUnit, kubeadmArgs)}, nil, nil
	case machine.K3s:
		return []machine.File{file(k3sConf, c.dropIn())}, nil, nil
	}
	return c.openShift(o)
}

func file(path, contents string) machine.File {
	return machine.File{Path: path, Mode: 0o644, Contents: []byte(contents)}
}

func (c Config) openShift(o Options) (files []machine.File, notices []string, err error) {
	own := maps.Clone(c.values)
	reserved := map[string]string{}
	if all, ok := own["systemReserved"].(map[string]any); ok {
		all = maps.Clone(all)
		for _, name := range []string{"cpu", "memory", "ephemeral-storage"} {
			if v, ok := all[name].(string); ok && v != "" {
				reserved[name] = v // OpenShift hands these over on the kubelet's command line
			}
			delete(all, name)
		}
		own["systemReserved"] = all
	}
	sum := base(o.ClusterDNS)
	maps.Copy(sum, tlsFields(c.Spec.TLSSecurityProfile))
	for _, field := range []string{"protectKernelDefaults", staticPodPath} {
		if v, mentioned := own[field]; mentioned && v != nil && zero(v) {
			delete(sum, field) // as MCO main: of these two, zero counts
		}
	}
	for _, lost := range over(sum, own, "", o.KeepZero) {
		notices = append(notices, fmt.Sprintf("%s.%s is lost: a field that is false, 0 or empty does not replace the default of the platform, as in MCO", inConfig, lost))
	}
	files = append(files, file(openShiftConf, document(sum)))
	if l := c.Spec.LogLevel; l != nil {
		files = append(files, file(loggingConf, fmt.Sprintf("[Service]\nEnvironment=\"KUBELET_LOG_LEVEL=%d\"\n", *l)))
	}
	if auto := c.Spec.AutoSizingReserved; auto != nil || len(reserved) > 0 {
		files = append(files, file(sizingEnv, sizing(auto != nil && *auto && len(reserved) == 0, reserved)))
	}
	slices.Sort(notices)
	return files, notices, nil
}

// sizing is read by the service that sizes the system's share. What the author leaves out has
// the values that MCO main writes.
func sizing(auto bool, reserved map[string]string) string {
	value := func(name, or string) string {
		if v := reserved[name]; v != "" {
			return v
		}
		return or
	}
	return fmt.Sprintf("NODE_SIZING_ENABLED=%t\nSYSTEM_RESERVED_MEMORY=%s\nSYSTEM_RESERVED_CPU=%s\nSYSTEM_RESERVED_ES=%s\n",
		auto, value("memory", "1Gi"), value("cpu", "500m"), value("ephemeral-storage", "1Gi"))
}

// dropIn holds the author's fields and nothing else. Every value counts: there is no base that
// it could lose against.
func (c Config) dropIn() string {
	sum := map[string]any{}
	if c.Spec.TLSSecurityProfile != nil {
		sum = tlsFields(c.Spec.TLSSecurityProfile)
	}
	if l := c.Spec.LogLevel; l != nil {
		sum["logging"] = map[string]any{"verbosity": *l}
	}
	over(sum, c.values, "", true)
	return document(sum)
}

// over lays the author's fields over a base, object by object; lists are replaced whole. A field
// that is zero does not replace one of the base, unless keep: it is named in lost. That is how
// MCO main merges, and a repository that was written for it may rely on either.
func over(sum, own map[string]any, prefix string, keep bool) (lost []string) {
	for name, v := range own {
		had, exists := sum[name]
		inner, isObject := v.(map[string]any)
		outer, wasObject := had.(map[string]any)
		switch {
		case v == nil: // as if it were not written
		case isObject && wasObject:
			lost = append(lost, over(outer, inner, prefix+name+".", keep)...)
		case isObject && len(inner) == 0 && !keep:
		case !keep && exists && zero(v):
			if !zero(had) {
				lost = append(lost, prefix+name)
			}
		default:
			sum[name] = v
		}
	}
	return lost
}

func zero(v any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case string:
		return v == "" || v == "0s" // a duration
	case json.Number:
		f, err := v.Float64()
		return err == nil && f == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return v == nil
}

// document is the YAML of a configuration, its fields sorted.
func document(sum map[string]any) string {
	sum["apiVersion"], sum["kind"] = v1beta1.SchemeGroupVersion.String(), kind
	encoded, err := json.Marshal(sum)
	if err != nil {
		panic("kubelet: decoded JSON cannot be encoded: " + err.Error())
	}
	doc, err := yaml.JSONToYAML(encoded)
	if err != nil {
		panic("kubelet: JSON is no YAML: " + err.Error())
	}
	return strings.TrimSuffix(string(doc), "\n") + "\n"
}
