package render

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/coreos/ignition/v2/config/v3_5/types"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

// fold merges what a pool takes into one config, and says which file set what.
func (r *reader) fold(t taken) (machine.Config, map[string]string) {
	var sum manifest.Spec
	var ignition []types.Config
	from := sources{}
	for _, c := range t.configs {
		s := c.Spec
		ignition = append(ignition, withCompression(s.Ignition))
		sum.KernelArguments = append(sum.KernelArguments, s.KernelArguments...)
		sum.Extensions = append(sum.Extensions, s.Extensions...)
		sum.FIPS = sum.FIPS || s.FIPS
		if c.own.KernelType != "" {
			sum.KernelType = c.own.KernelType
		}
		for _, cause := range causes(c.own) {
			from[cause] = c
		}
	}
	sum.OSImageURL = from.image(t.configs, "osImageURL", func(s manifest.Spec) string { return s.OSImageURL })
	sum.ExtensionsImage = from.image(t.configs, "baseOSExtensionsContainerImage", func(s manifest.Spec) string { return s.ExtensionsImage })
	if sum.KernelType != "" && slices.Contains(sum.Extensions, "kernel-devel") {
		c := from["extensions"]
		r.failIn(c.at, c.file, "spec.extensions", "kernel-devel does not go with the kernel type %s of %s", sum.KernelType, from["kernelType"].file)
	}
	sum.Ignition = merge(ignition)
	r.weigh(t, sum)
	merged, err := manifest.Config(sum)
	var wrong manifest.Errors
	errors.As(err, &wrong)
	for _, e := range wrong {
		c := from.of(e.Field)
		r.failIn(c.at, cmp.Or(c.file, t.file), e.Field, "%s, once all of pool %s is merged", e.Why, t.name)
	}
	r.standing(merged, from)
	return merged, from.files()
}

// sources are the MachineConfigs that were the last to set something, by its impact cause.
type sources map[string]config

func (s sources) files() map[string]string {
	out := map[string]string{}
	for cause, c := range s {
		out[cause] = c.file
	}
	return out
}

// of is the source of a field of the merged config: of the element that it names, or of its
// section. The zero config is that of none.
func (s sources) of(field string) config {
	below := strings.TrimPrefix(field, "spec.config.")
	for _, cause := range slices.Sorted(maps.Keys(s)) {
		if strings.Contains(field, "["+cause+"]") || below == cause || strings.HasPrefix(below, cause+".") || strings.HasPrefix(below, cause+"[") {
			return s[cause]
		}
	}
	return config{}
}

// image is the last that is set, as in MCO main: those of generated MachineConfigs only count
// where there is no other.
func (s sources) image(configs []config, field string, of func(manifest.Spec) string) (out string) {
	for _, c := range configs {
		if of(c.Spec) != "" && (out == "" || s[field].Generated || !c.Generated) {
			out, s[field] = of(c.Spec), c
		}
	}
	return out
}

const maxRendered = 1_572_864 // bytes that fit into one object of a cluster, as MCO main counts

// weigh holds the merged config to the size that MCO main allows, counted with each file encoded
// as its author did.
func (r *reader) weigh(t taken, sum manifest.Spec) {
	encoded, err := json.Marshal(sum)
	if err != nil {
		r.fail(t.file, "", "%v", err)
		return
	}
	switch n := len(encoded); {
	case n > maxRendered:
		r.fail(t.file, "", "pool %s renders to %d bytes, and %d are the most that fit: put large files into an image, or compress them", t.name, n, maxRendered)
	case n > maxRendered*8/10:
		r.notice("%s: pool %s renders to %d bytes, more than 80 %% of the %d that fit", t.file, t.name, n, maxRendered)
	}
}

// withCompression makes "not compressed" explicit, as MCO main does: otherwise the gzip of one
// MachineConfig would stick to the plain contents of a later one.
func withCompression(c types.Config) types.Config {
	c.Storage.Files = slices.Clone(c.Storage.Files)
	plain := ""
	for i := range c.Storage.Files {
		contents := &c.Storage.Files[i].Contents
		if contents.Source != nil && contents.Compression == nil {
			contents.Compression = &plain
		}
	}
	return c
}

// causes are the names under which impact speaks of what a config sets.
func causes(c machine.Config) []string {
	var out []string
	for _, f := range c.Files {
		out = append(out, f.Path)
	}
	for _, u := range c.Units {
		out = append(out, u.Name)
	}
	for _, u := range c.Users {
		if len(u.SSHKeys) > 0 {
			out = append(out, "passwd.users["+u.Name+"].sshAuthorizedKeys")
		}
		if u.PasswordHash != "" {
			out = append(out, "passwd.users["+u.Name+"].passwordHash")
		}
	}
	for _, s := range c.FirstBoot {
		out = append(out, s.Name)
	}
	for field, set := range map[string]bool{
		"kernelArguments": len(c.KernelArgs) > 0,
		"extensions":      len(c.Extensions) > 0,
		"kernelType":      c.KernelType != "",
		"fips":            c.FIPS,
	} {
		if set {
			out = append(out, field)
		}
	}
	return out
}
