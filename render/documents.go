package render

import (
	"encoding/json"
	"errors"
	"strings"

	mcfg "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/policy"
)

const (
	roleLabel = "machineconfiguration.openshift.io/role"
	nodeRole  = "node-role.kubernetes.io/"
	worker    = "worker"
	master    = "master"
)

// notYet are the kinds that say what is on a node and that this version cannot render. To pass
// them over would give nodes a wrong config, so they are mistakes until they are rendered.
var notYet = map[string]bool{
	"machineconfiguration.openshift.io/KubeletConfig":          true,
	"machineconfiguration.openshift.io/ContainerRuntimeConfig": true,
	"config.openshift.io/ImageDigestMirrorSet":                 true,
	"config.openshift.io/ImageTagMirrorSet":                    true,
	"operator.openshift.io/ImageContentSourcePolicy":           true,
	"operator.openshift.io/MachineConfiguration":               true,
}

// universe is one build, read.
type universe struct {
	dir      string
	configs  []config
	pools    []pool
	policies []rollout
}

// config is a MachineConfig and what it asks for by itself.
type config struct {
	manifest.Manifest
	file string
	own  machine.Config
}

// reader gathers what is wrong and what is worth saying, over all builds.
type reader struct {
	errs    Errors
	notices []string
	passed  map[string]int // kind -> documents that are not ours
}

func (r *reader) read(b Build) universe {
	u := universe{dir: b.Dir}
	for _, d := range b.Documents {
		for _, one := range manifest.Documents(d.Body) {
			encoded, err := manifest.FromYAML(one)
			if err != nil {
				r.fail(d.File, "", "%v", err)
				continue
			}
			r.document(&u, d.File, encoded)
		}
	}
	return u
}

// document is one JSON document, a list of them included.
func (r *reader) document(u *universe, file string, encoded []byte) {
	var head struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(encoded, &head); err != nil || head.Kind == "" {
		r.notice("%s: a document without kind is passed over", file)
		return
	}
	group, version, _ := strings.Cut(head.APIVersion, "/")
	ours := map[string]string{"machineconfiguration.openshift.io": "v1", "sluice.dev": "v1alpha1"}
	switch kind := group + "/" + head.Kind; {
	case strings.HasSuffix(head.Kind, "List") && head.Items != nil:
		for _, item := range head.Items {
			r.document(u, file, item)
		}
	case notYet[kind]:
		r.fail(file, "kind", "%s is not rendered by this version, and without it nodes would get a wrong config", head.Kind)
	case kind == "machineconfiguration.openshift.io/MachineConfig",
		kind == "machineconfiguration.openshift.io/MachineConfigPool",
		group == "sluice.dev":
		if version != ours[group] {
			r.fail(file, "apiVersion", "%s is not known: write %s/%s", head.APIVersion, group, ours[group])
			return
		}
		r.ours(u, file, head.Kind, encoded)
	default:
		r.passed[head.Kind]++
	}
}

func (r *reader) ours(u *universe, file, kind string, encoded []byte) {
	switch kind {
	case "MachineConfig":
		r.machineConfig(u, file, encoded)
	case "MachineConfigPool":
		r.pool(u, file, encoded)
	case "RolloutPolicy":
		r.rollout(u, file, encoded)
	default:
		r.fail(file, "kind", "%s is not a kind of sluice.dev: RolloutPolicy is", kind)
	}
}

func (r *reader) machineConfig(u *universe, file string, encoded []byte) {
	m, err := manifest.Parse(encoded)
	if err != nil {
		r.refuse(file, err)
		return
	}
	for _, w := range m.Warnings {
		r.notice("%s: %s", file, w)
	}
	own, err := manifest.Config(m.Spec)
	if err != nil {
		r.refuse(file, err)
		return
	}
	for _, other := range u.configs {
		if other.Name == m.Name {
			r.fail(file, "metadata.name", "MachineConfig %s stands in %s, too", m.Name, other.file)
			return
		}
	}
	u.configs = append(u.configs, config{Manifest: m, file: file, own: own})
}

// refuse turns the mistakes of a manifest into those of a file.
func (r *reader) refuse(file string, err error) {
	var found manifest.Errors
	if !errors.As(err, &found) {
		r.fail(file, "", "%v", err)
	}
	for _, e := range found {
		r.fail(file, e.Field, "%s", e.Why)
	}
}

// pool is a MachineConfigPool as its author wrote it.
type pool struct {
	name, file string
	strategy   Strategy
	nodes      labels.Selector // nil selects none, and noNodes says why
	noNodes    lack
	configs    labels.Selector // nil selects none, and noConfigs says why
	noConfigs  lack
}

// lack is why a selector selects nothing.
type lack string

const (
	absent lack = "absent"
	empty  lack = "empty"
)

func (p pool) selects(l map[string]string) bool {
	return p.configs != nil && p.configs.Matches(labels.Set(l))
}

func (r *reader) pool(u *universe, file string, encoded []byte) {
	var in mcfg.MachineConfigPool
	wrong := manifest.Decode(encoded, &in)
	for _, e := range wrong {
		r.fail(file, e.Field, "%s", e.Why)
	}
	if len(wrong) > 0 {
		return
	}
	p := pool{name: in.Name, file: file}
	p.strategy.Paused = in.Spec.Paused
	if in.Name == "" {
		r.fail(file, "metadata.name", "is missing")
		return
	}
	if in.Spec.OSImageStream.Name != "" {
		r.fail(file, "spec.osImageStream", "is not rendered by this version: set osImageURL in a MachineConfig")
	}
	if in.Spec.MaxUnavailable != nil {
		p.strategy.MaxUnavailable = in.Spec.MaxUnavailable.String()
		if _, err := policy.Limit(p.strategy.MaxUnavailable, 1); err != nil {
			r.fail(file, "spec.maxUnavailable", "%v", err)
		}
	}
	p.configs, p.noConfigs = r.selector(file, "spec.machineConfigSelector", in.Spec.MachineConfigSelector)
	p.nodes, p.noNodes = r.selector(file, "spec.nodeSelector", in.Spec.NodeSelector)
	u.pools = append(u.pools, p)
}

func (r *reader) selector(file, field string, in *metav1.LabelSelector) (labels.Selector, lack) {
	if in == nil {
		return nil, absent
	}
	if len(in.MatchLabels) == 0 && len(in.MatchExpressions) == 0 {
		return nil, empty
	}
	s, err := metav1.LabelSelectorAsSelector(in)
	if err != nil {
		r.fail(file, field, "%s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return s, ""
}

// role selects the nodes that carry the role of that name.
func (r *reader) role(file, name string) labels.Selector {
	exists, err := labels.NewRequirement(nodeRole+name, selection.Exists, nil)
	if err != nil {
		r.fail(file, "metadata.name", "%s%s is no label of a node: %v", nodeRole, name, err)
		return nil
	}
	return labels.NewSelector().Add(*exists)
}
