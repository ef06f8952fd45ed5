package kubelet

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

// always are the rules that hold on every kind of node.
func (c Config) always() (errs manifest.Errors) {
	if l := c.Spec.LogLevel; l != nil && (*l < 0 || *l > 10) {
		errs = append(errs, manifest.Error{Field: "spec.logLevel", Why: fmt.Sprintf("%d is not between 0 and 10", *l)})
	}
	if auto := c.Spec.AutoSizingReserved; auto != nil && *auto && len(c.typed.SystemReserved) > 0 {
		errs = append(errs, manifest.Error{
			Field: inConfig + ".systemReserved",
			Why:   "does not go with autoSizingReserved, which computes it: remove one of the two",
		})
	}
	errs = append(errs, quantities("systemReserved", c.typed.SystemReserved)...)
	errs = append(errs, quantities("kubeReserved", c.typed.KubeReserved)...)
	return append(errs, tlsMistakes(c.Spec.TLSSecurityProfile)...)
}

// quantities reads amounts that the kubelet would only refuse at its start. Some of them are
// handed on through an environment file, where a line break would add settings.
func quantities(field string, all map[string]string) (errs manifest.Errors) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if _, err := resource.ParseQuantity(all[name]); err != nil {
			errs = append(errs, manifest.Error{Field: inConfig + "." + field + "." + name, Why: "is not a quantity, as 500m or 1Gi are"})
		}
	}
	return errs
}

// Rules are the mistakes of asking this of nodes of a kind. Files makes none then.
func (c Config) Rules(o Options) manifest.Errors {
	switch o.Profile {
	case machine.Kubeadm, machine.K3s:
		return c.foreign(o.Profile)
	}
	return c.forbidden(o.ControlPlane)
}

// forbidden are the rules of MCO main for what OpenShift sets itself: a node with another value
// may not come back from its reboot.
func (c Config) forbidden(controlPlane bool) (errs manifest.Errors) {
	k := c.typed
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"cgroupDriver", k.CgroupDriver != ""},
		{"clusterDNS", len(k.ClusterDNS) > 0},
		{"clusterDomain", k.ClusterDomain != ""},
		{"failSwapOn", k.FailSwapOn != nil},
		{"featureGates", len(k.FeatureGates) > 0},
		{"memorySwap.swapBehavior", k.MemorySwap.SwapBehavior != ""},
	} {
		if f.set {
			errs = append(errs, manifest.Error{Field: inConfig + "." + f.name, Why: "is set by the platform: remove it"})
		}
	}
	_, mentioned := c.values[staticPodPath]
	switch {
	case mentioned && controlPlane:
		errs = append(errs, manifest.Error{Field: inConfig + "." + staticPodPath, Why: "may not be set on the control plane, which runs static pods: remove it"})
	case k.StaticPodPath != "":
		errs = append(errs, manifest.Error{Field: inConfig + "." + staticPodPath, Why: `is set by the platform: remove it, or write "" to run no static pods`})
	}
	cgroups := k.SystemCgroups
	if cgroups == "" {
		cgroups = systemSlice
	}
	if own := k.SystemReservedCgroup; own != "" && own != cgroups {
		errs = append(errs, manifest.Error{Field: inConfig + ".systemReservedCgroup", Why: fmt.Sprintf("is not the same as systemCgroups (%s)", cgroups)})
	}
	return errs
}

// foreign are the mistakes of asking a node for what only OpenShift's have.
func (c Config) foreign(p machine.Profile) (errs manifest.Errors) {
	if c.Spec.AutoSizingReserved != nil {
		errs = append(errs, manifest.Error{
			Field: "spec.autoSizingReserved",
			Why:   fmt.Sprintf("is done by a service of OpenShift's nodes, which nodes of the profile %s have not: write systemReserved", p),
		})
	}
	return errs
}
