package render

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/render/crio"
	"github.com/sluice-gitops/sluice/render/kubelet"
)

const (
	suffixAnnotation = "machineconfiguration.openshift.io/mc-name-suffix"
	maxSuffix        = 9 // so that a pool has at most ten of a kind, and names sort as numbers do
)

// frontEnd is an object that stands for one MachineConfig of each pool that it selects.
type frontEnd struct {
	kind, name, file string
	at               place
	suffix           *string // what MCO noted in its annotation
	pools            labels.Selector
	noPools          lack
	generated        string // the word in the names of what it generates
	whole            bool   // it writes one file whole, so that only the last of a pool counts
	files            func(pool string) ([]machine.File, []string, error)
}

func (r *reader) kubeletConfig(u *universe, file string, encoded []byte) {
	c, err := kubelet.Parse(encoded)
	if err != nil {
		r.refuse(file, err)
		r.refuse(file, c.Rules(kubelet.Options{Profile: r.options.Profile}))
		return
	}
	r.frontEnd(u, c.ObjectMeta, c.Spec.MachineConfigPoolSelector, frontEnd{
		kind: "KubeletConfig", file: file, generated: "kubelet", whole: true,
		files: func(pool string) ([]machine.File, []string, error) {
			return c.Files(kubelet.Options{
				Profile: r.options.Profile, ControlPlane: pool == master,
				ClusterDNS: r.options.ClusterDNS, KeepZero: r.options.KeepZero,
			})
		},
	})
}

func (r *reader) runtimeConfig(u *universe, file string, encoded []byte) {
	c, err := crio.Parse(encoded)
	if err != nil {
		r.refuse(file, err)
		return
	}
	r.frontEnd(u, c.ObjectMeta, c.Spec.MachineConfigPoolSelector, frontEnd{
		kind: "ContainerRuntimeConfig", file: file, generated: "containerruntime",
		files: func(string) ([]machine.File, []string, error) {
			files, err := crio.Files(c, r.options.Profile)
			return files, nil, err
		},
	})
}

func (r *reader) frontEnd(u *universe, meta metav1.ObjectMeta, selector *metav1.LabelSelector, f frontEnd) {
	f.name, f.at = meta.Name, r.now
	for _, other := range u.fronts {
		if other.kind == f.kind && other.name == f.name {
			r.fail(f.file, "metadata.name", "%s %s stands in %s, too", f.kind, f.name, other.file)
			return
		}
	}
	if s, ok := meta.Annotations[suffixAnnotation]; ok {
		if n, err := strconv.Atoi(s); s != "" && (err != nil || n < 1 || n > maxSuffix || strconv.Itoa(n) != s) {
			r.fail(f.file, "metadata.annotations["+suffixAnnotation+"]", "%q is none of \"\", 1 to %d", s, maxSuffix)
			return
		}
		f.suffix = &s
	}
	f.pools, f.noPools = r.selector(f.file, "spec.machineConfigPoolSelector", selector)
	u.fronts = append(u.fronts, f)
}

// target is a pool that front ends may select, in Git or only on the cluster.
type target struct {
	name   string
	labels map[string]string
}

// targets are the pools of a build by their names. worker and master exist on a cluster without
// being in Git. Where each of several builds speaks for its own pool, they are there for a build
// that speaks of them; in a build that is wholly of one pool, there is no other.
func (u universe) targets(overlays bool) []target {
	found := map[string]target{}
	for _, p := range u.pools {
		found[p.name] = target{p.name, withBuiltIn(p.name, p.labels)}
	}
	if u.ofOnePool() {
		return []target{found[u.pools[0].name]}
	}
	for _, role := range []string{worker, master} {
		takes := func(p pool) bool { return p.selects(map[string]string{roleLabel: role}) }
		if _, ok := found[role]; !ok && (!overlays || slices.ContainsFunc(u.pools, takes)) {
			found[role] = target{role, withBuiltIn(role, nil)}
		}
	}
	for _, c := range u.configs {
		role := c.Labels[roleLabel]
		if _, ok := found[role]; !ok && role != "" {
			found[role] = target{role, withBuiltIn(role, nil)}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b target) int { return cmp.Compare(a.name, b.name) })
}

// ofOnePool says whether all of the build belongs to the one pool that it declares.
func (u universe) ofOnePool() bool { return len(u.pools) == 1 && u.pools[0].noConfigs == absent }

// withBuiltIn adds the labels that OpenShift gives its own pools: selectors rely on them.
func withBuiltIn(name string, own map[string]string) map[string]string {
	if name != worker && name != master {
		return own
	}
	all := map[string]string{
		"machineconfiguration.openshift.io/mco-built-in":           "",
		"pools.operator.machineconfiguration.openshift.io/" + name: "",
	}
	maps.Copy(all, own)
	return all
}

// generate adds the MachineConfigs that front ends and mirror sets stand for, under the names
// that MCO main gives them, so that they take the same place in the merge order.
func (r *reader) generate(u *universe, overlays bool) {
	targets := u.targets(overlays)
	slices.SortStableFunc(u.fronts, func(a, b frontEnd) int { return cmp.Compare(a.name, b.name) })
	of := map[string]map[string][]frontEnd{"KubeletConfig": {}, "ContainerRuntimeConfig": {}} // by kind and pool
	for _, f := range u.fronts {
		for _, t := range r.selectedBy(*u, f, targets) {
			of[f.kind][t.name] = append(of[f.kind][t.name], f)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(of)) {
		for _, pool := range slices.Sorted(maps.Keys(of[kind])) {
			r.generateAll(u, pool, of[kind][pool])
		}
	}
	r.generateMirrors(u, targets)
}

func (r *reader) selectedBy(u universe, f frontEnd, targets []target) []target {
	switch {
	case f.pools == nil && f.noPools == absent && len(u.pools) == 1:
		return []target{{name: u.pools[0].name}}
	case f.pools == nil:
		r.notice("%s: %s %s is for no pool: its machineConfigPoolSelector is %s", f.file, f.kind, f.name, f.noPools)
		return nil
	}
	var out []target
	for _, t := range targets {
		if f.pools.Matches(labels.Set(t.labels)) {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		r.notice("%s: %s %s is for no pool: its machineConfigPoolSelector matches the labels of none", f.file, f.kind, f.name)
	}
	return out
}

// generateAll makes the MachineConfigs of one kind and one pool.
func (r *reader) generateAll(u *universe, pool string, fronts []frontEnd) {
	suffixes, ok := r.suffixes(pool, fronts)
	if !ok {
		return
	}
	last := slices.Max(slices.Collect(maps.Keys(suffixes)))
	for _, suffix := range slices.Sorted(maps.Keys(suffixes)) {
		f := suffixes[suffix]
		files, notices, err := f.files(pool)
		if err != nil {
			r.refuseIn(f.at, f.file, err)
			continue
		}
		for _, n := range notices {
			r.notice("%s: %s", f.file, n)
		}
		if f.whole && suffix != last {
			r.notice("%s: spec.kubeletConfig of %s %s has no effect on pool %s: %s stands later and writes the whole file", f.file, f.kind, f.name, pool, suffixes[last].name)
		}
		name := fmt.Sprintf("99-%s-generated-%s", pool, f.generated)
		if suffix != "" {
			name += "-" + suffix
		}
		r.add(u, name, pool, f.file, fmt.Sprintf("%s %s", f.kind, f.name), files)
	}
}

// suffixes says which front end has which suffix: the one that MCO noted, else the next in the
// order of names, since Git knows no time of creation. The first of a pool has none.
func (r *reader) suffixes(pool string, fronts []frontEnd) (map[string]frontEnd, bool) {
	out := map[string]frontEnd{}
	next := 0
	for _, f := range fronts {
		if f.suffix == nil {
			continue
		}
		if other, taken := out[*f.suffix]; taken {
			r.failIn(f.at, f.file, "metadata.annotations["+suffixAnnotation+"]", "%s %s has %q, too, and both are for pool %s", f.kind, other.name, *f.suffix, pool)
			return nil, false
		}
		out[*f.suffix] = f
		n, _ := strconv.Atoi(*f.suffix) // "" is 0
		next = max(next, n+1)
	}
	for _, f := range fronts {
		switch {
		case f.suffix != nil:
			continue
		case next > maxSuffix:
			r.failIn(f.at, f.file, "spec.machineConfigPoolSelector", "pool %s has ten of %s already: merge some of them", pool, f.kind)
			return nil, false
		case next == 0:
			out[""] = f
		default:
			out[strconv.Itoa(next)] = f
		}
		next++
	}
	return out, true
}

// add puts a generated MachineConfig among the authored ones. One that an author took from a
// cluster under the same name gives way, as it would there.
func (r *reader) add(u *universe, name, pool, file, by string, files []machine.File) {
	u.configs = slices.DeleteFunc(u.configs, func(c config) bool {
		if c.Name == name {
			r.notice("%s: MachineConfig %s is passed over: %s generates it", c.file, name, by)
		}
		return c.Name == name
	})
	for _, p := range u.pools {
		if p.name == pool && p.noConfigs == "" && !p.selects(map[string]string{roleLabel: pool}) {
			r.notice("%s: %s has no effect on pool %s, whose machineConfigSelector does not select %s: %s", file, by, pool, roleLabel, pool)
		}
	}
	own := machine.Config{Files: files}.Canonical()
	doc, err := manifest.JSON(name, map[string]string{roleLabel: pool}, own)
	if err != nil {
		r.fail(file, "", "%v", err)
		return
	}
	m, err := manifest.Parse(doc)
	if err != nil {
		r.refuse(file, err)
		return
	}
	u.configs = append(u.configs, config{Manifest: m, file: file, own: own})
}
