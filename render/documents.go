package render

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
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

// mirrorKinds say where images are pulled from, each with the version that is read.
var mirrorKinds = map[string]string{
	"config.openshift.io/ImageDigestMirrorSet":       "v1",
	"config.openshift.io/ImageTagMirrorSet":          "v1",
	"config.openshift.io/Image":                      "v1",
	"operator.openshift.io/ImageContentSourcePolicy": "v1alpha1",
}

// unrendered are the kinds that MCO main reads besides those above, and that say something of
// nodes: their author should hear that it is not done here.
var unrendered = map[string]bool{
	"config.openshift.io/APIServer":                     true, // the kubelet's TLS profile
	"config.openshift.io/ClusterImagePolicy":            true,
	"config.openshift.io/FeatureGate":                   true, // 98-POOL-generated-kubelet
	"config.openshift.io/ImagePolicy":                   true,
	"config.openshift.io/Node":                          true, // 97-POOL-generated-kubelet
	"machineconfiguration.openshift.io/MachineOSConfig": true,
	"machineconfiguration.openshift.io/PinnedImageSet":  true,
}

// universe is one build, read.
type universe struct {
	dir      string
	configs  []config
	named    map[string]int // MachineConfig -> its place in configs
	pools    []pool
	policies []rollout
	fronts   []frontEnd
	mirrors  []mirrorObject

	disruptions []disruption
}

// config is a MachineConfig and what it asks for by itself.
type config struct {
	manifest.Manifest
	file string
	at   place
	own  machine.Config
}

// reader gathers what is wrong and what is worth saying, over all builds.
type reader struct {
	options Options
	errs    Errors
	notices []string
	now     place // what is being read

	known    map[string]reading // MachineConfig, word for word -> what it says
	passed   map[string]int     // kind -> documents that are not ours
	rendered map[string]int     // file -> MachineConfigs that a controller merged from others
}

func newReader(o Options) reader {
	return reader{options: o, known: map[string]reading{}, passed: map[string]int{}, rendered: map[string]int{}}
}

func (r *reader) read(b Build) universe {
	u := universe{dir: b.Dir, named: map[string]int{}}
	for _, d := range b.Documents {
		for _, one := range texts(d) {
			encoded, err := manifest.FromYAML(one.body)
			if err != nil {
				r.unreadable(d.File, one, err)
				continue
			}
			r.now = place{doc: one}
			r.document(&u, d.File, encoded)
		}
	}
	r.now = place{}
	return u
}

// document is one JSON document, a list of them included.
func (r *reader) document(u *universe, file string, encoded []byte) {
	var head struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   json.RawMessage   `json:"metadata"`
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
		list := r.now
		for i, item := range head.Items {
			r.now.item = fmt.Sprintf("%sitems[%d].", list.item, i)
			r.document(u, file, typed(item, head.APIVersion, strings.TrimSuffix(head.Kind, "List")))
		}
		r.now = list
	case kind == "operator.openshift.io/MachineConfiguration":
		if version != "v1" {
			r.fail(file, "apiVersion", "%s is not known: write %s/v1", head.APIVersion, group)
			return
		}
		r.machineConfiguration(u, file, encoded)
	case mirrorKinds[kind] != "":
		if version != mirrorKinds[kind] {
			r.fail(file, "apiVersion", "%s is not known: write %s/%s", head.APIVersion, group, mirrorKinds[kind])
			return
		}
		r.mirrorObject(u, file, head.Kind, encoded)
	case kind == "machineconfiguration.openshift.io/MachineConfig",
		kind == "machineconfiguration.openshift.io/MachineConfigPool",
		kind == "machineconfiguration.openshift.io/KubeletConfig",
		kind == "machineconfiguration.openshift.io/ContainerRuntimeConfig",
		group == "sluice.dev":
		if version != ours[group] {
			r.fail(file, "apiVersion", "%s is not known: write %s/%s", head.APIVersion, group, ours[group])
			return
		}
		if nameless(head.Metadata) && group != "sluice.dev" {
			r.warn(file, manifest.Error{Why: fmt.Sprintf("a %s without metadata is passed over: it is a patch, and no object by itself", head.Kind)})
			return
		}
		if r.named(file, head.Metadata) {
			r.ours(u, file, head.Kind, encoded)
		}
	case unrendered[kind]:
		r.notice("%s: %s is passed over: on OpenShift it changes nodes, here it does not", file, head.Kind)
	default:
		r.foreign(file, group, head.Kind)
	}
}

// nameless says whether an object has no metadata at all, as patches often do.
func nameless(metadata json.RawMessage) bool {
	return len(metadata) == 0 || string(metadata) == "null" || string(metadata) == "{}"
}

type owner struct {
	Controller bool `json:"controller"`
}

// renderedByController says whether a MachineConfig is one that MCO merged for a pool. Whole
// lists of them get into Git with "oc get machineconfigs", and none is an input.
func renderedByController(encoded []byte) bool {
	var in struct {
		Metadata struct {
			Name        string            `json:"name"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
			Owners      []owner           `json:"ownerReferences"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(encoded, &in); err != nil || !strings.HasPrefix(in.Metadata.Name, "rendered-") {
		return false
	}
	owned := slices.ContainsFunc(in.Metadata.Owners, func(o owner) bool { return o.Controller })
	hash := in.Metadata.Name[strings.LastIndexByte(in.Metadata.Name, '-')+1:]
	_, err := hex.DecodeString(hash)
	bare := len(in.Metadata.Labels) == 0 && err == nil && len(hash) == 32
	return owned || bare || in.Metadata.Annotations[manifest.GeneratedBy] != ""
}

func (r *reader) ours(u *universe, file, kind string, encoded []byte) {
	switch kind {
	case "MachineConfig":
		r.machineConfig(u, file, encoded)
	case "MachineConfigPool":
		r.pool(u, file, encoded)
	case "KubeletConfig":
		r.kubeletConfig(u, file, encoded)
	case "ContainerRuntimeConfig":
		r.runtimeConfig(u, file, encoded)
	case "RolloutPolicy":
		r.rollout(u, file, encoded)
	default:
		r.fail(file, "kind", "%s is not a kind of sluice.dev: RolloutPolicy is", kind)
	}
}

func (r *reader) machineConfig(u *universe, file string, encoded []byte) {
	m := r.reading(encoded)
	if m.rendered {
		r.rendered[file]++
		return
	}
	for _, w := range m.Warnings {
		r.warn(file, w)
	}
	if m.whole {
		r.extensions(file, m.Manifest)
	}
	if m.wrong != nil {
		r.refuse(file, m.wrong)
		return
	}
	c := config{Manifest: m.Manifest, file: file, at: r.now, own: m.own}
	before, twice := u.named[m.Name]
	switch {
	case !twice:
		u.named[m.Name] = len(u.configs)
		u.configs = append(u.configs, c)
	case manifest.Same(c.Manifest, u.configs[before].Manifest):
		r.notice("%s: MachineConfig %s stands in %s, too: they are alike and count once", file, m.Name, u.configs[before].file)
	case (path.Ext(file) == ".bu") != (path.Ext(u.configs[before].file) == ".bu"):
		r.fail(file, "metadata.name", "another MachineConfig %s stands in %s, and they differ: run butane again, or remove one of them", m.Name, u.configs[before].file)
	default:
		r.fail(file, "metadata.name", "another MachineConfig %s stands in %s: give one of them another name", m.Name, u.configs[before].file)
	}
}

// extensions refuses those that MCO main does not know. As there, a MachineConfig without an
// Ignition config is not held to it, and its extensions are only spoken of.
func (r *reader) extensions(file string, m manifest.Manifest) {
	known := []string{"ipsec", "kerberos", "kernel-devel", "sandboxed-containers", "sysstat", "two-node-ha", "usbguard"}
	for i, e := range m.Spec.Extensions {
		wrong := manifest.Error{Field: fmt.Sprintf("spec.extensions[%d]", i), Why: fmt.Sprintf("%q is none of %s", e, strings.Join(known, ", "))}
		switch {
		case slices.Contains(known, e):
		case m.HasIgnition:
			r.fail(file, wrong.Field, "%s", wrong.Why)
		default:
			r.warn(file, wrong)
		}
	}
}

// refuse turns the mistakes of a manifest into those of a file.
func (r *reader) refuse(file string, err error) { r.refuseIn(r.now, file, err) }

func (r *reader) refuseIn(at place, file string, err error) {
	var found manifest.Errors
	if !errors.As(err, &found) {
		r.failIn(at, file, "", "%v", err)
	}
	for _, e := range found {
		r.failIn(at, file, e.Field, "%s", e.Why)
	}
}

// warn is a notice of the field that it is about.
func (r *reader) warn(file string, w manifest.Error) {
	r.notice("%v", Error{File: file, Line: r.now.line(w.Field), Field: w.Field, Why: w.Why})
}

// pool is a MachineConfigPool as its author wrote it.
type pool struct {
	name, file string
	at         place
	labels     map[string]string
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
	unknown, wrong := manifest.DecodePruned(encoded, &in)
	for _, e := range unknown {
		r.warn(file, e)
	}
	for _, e := range wrong {
		r.fail(file, e.Field, "%s", e.Why)
	}
	if len(wrong) > 0 {
		return
	}
	p := pool{name: in.Name, file: file, at: r.now, labels: in.Labels}
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
		} else if none, _ := strconv.Atoi(strings.TrimSuffix(p.strategy.MaxUnavailable, "%")); none == 0 {
			why := "maxUnavailable " + p.strategy.MaxUnavailable + " counts as 1, as MCO main counts; pause the pool to keep its nodes untouched"
			r.notice("%v", Error{File: file, Line: r.now.line("spec.maxUnavailable"), Why: why})
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

// role selects the nodes that carry the role of that name, which is written in the field.
func (r *reader) role(at place, file, field, name string) labels.Selector {
	exists, err := labels.NewRequirement(nodeRole+name, selection.Exists, nil)
	if err != nil || !nameable(name) {
		r.failIn(at, file, field, "%q is no name of a pool: write at most 63 lower case letters, digits, - and .", name)
		return nil
	}
	return labels.NewSelector().Add(*exists)
}
