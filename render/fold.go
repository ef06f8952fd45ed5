package render

import (
	"slices"

	v3 "github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

// fold merges what a pool takes into one config, and says which file set what.
func (r *reader) fold(t taken) (machine.Config, map[string]string) {
	var sum manifest.Spec
	var ignition []types.Config
	origins := map[string]string{}
	for _, c := range t.configs {
		s := c.Spec
		ignition = append(ignition, withCompression(s.Ignition))
		sum.KernelArguments = append(sum.KernelArguments, s.KernelArguments...)
		sum.Extensions = append(sum.Extensions, s.Extensions...)
		sum.FIPS = sum.FIPS || s.FIPS
		if c.own.KernelType != "" {
			sum.KernelType = c.own.KernelType
		}
		if s.OSImageURL != "" {
			sum.OSImageURL = s.OSImageURL
		}
		for _, cause := range causes(c.own) {
			origins[cause] = c.file
		}
	}
	if sum.KernelType != "" && slices.Contains(sum.Extensions, "kernel-devel") {
		r.fail(origins["extensions"], "spec.extensions", "kernel-devel does not go with the kernel type %s of %s", sum.KernelType, origins["kernelType"])
	}
	sum.Ignition = merge(ignition)
	merged, err := manifest.Config(sum)
	if err != nil {
		r.refuse(t.file, err) // each part was right by itself, so the pool is where they meet
	}
	return merged, origins
}

// merge is Ignition's own merge, later over earlier. Its cost grows with the size of both sides,
// so neighbours are merged first, which gives the same: per field, the last that sets it. Only
// where a path is a file here and a directory or link there does the order of merging matter.
func merge(configs []types.Config) types.Config {
	switch len(configs) {
	case 0:
		return manifest.Empty()
	case 1:
		return configs[0]
	}
	if slices.ContainsFunc(configs, hasOtherNodes) {
		sum := configs[0]
		for _, c := range configs[1:] {
			sum = v3.Merge(sum, c)
		}
		return sum
	}
	half := len(configs) / 2
	return v3.Merge(merge(configs[:half]), merge(configs[half:]))
}

func hasOtherNodes(c types.Config) bool {
	return len(c.Storage.Directories) > 0 || len(c.Storage.Links) > 0
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
		"osImageURL":      c.OSImage != "",
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
