package manifest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/coreos/ignition/v2/config/v3_5/types"
	"sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/machine"
)

// Marshal is the MachineConfig that c amounts to, as YAML with sorted keys: Parse and Config of
// it give a config with the digest of c. The error says that a section of c is not Ignition's.
func Marshal(name string, labels map[string]string, c machine.Config) ([]byte, error) {
	encoded, err := JSON(name, labels, c)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(escaped(encoded))
}

// escaped is JSON in which every character that YAML does not take as it is stands as an escape.
// Such characters are only found in strings, where an escape means the same.
func escaped(encoded []byte) []byte {
	var out []byte
	for _, r := range string(encoded) {
		if r >= 0x7f && r < 0xa0 || r == 0xfeff || r == 0xfffe || r == 0xffff {
			out = fmt.Appendf(out, "\\u%04x", r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// JSON is Marshal as one line of JSON.
func JSON(name string, labels map[string]string, c machine.Config) ([]byte, error) {
	ignition, err := Ignition(c)
	if err != nil {
		return nil, err
	}
	h := header{APIVersion: APIVersion, Kind: Kind, Spec: spec{
		Config:          ignition,
		OSImageURL:      c.OSImage,
		ExtensionsImage: c.ExtensionsImage,
		KernelArguments: c.KernelArgs,
		Extensions:      c.Extensions,
		KernelType:      cmp.Or(c.KernelType, "default"), // never left open, as in MCO main
		FIPS:            c.FIPS,
	}}
	h.Metadata.Name, h.Metadata.Labels = name, labels
	return json.Marshal(h)
}

// Ignition is the Ignition 3.5 config that c amounts to, as JSON. What is not Ignition's (kernel
// arguments of the MachineConfig, image, extensions, kernel type, FIPS) is not in it.
func Ignition(c machine.Config) ([]byte, error) {
	out := Empty()
	c = c.Canonical()
	parts := map[string]any{}
	for _, p := range firstBoot(&out) {
		parts[p.name] = p.at
	}
	for _, s := range c.FirstBoot {
		at, known := parts[s.Name]
		if !known {
			return nil, fmt.Errorf("write section %q: it is no part of an Ignition config", s.Name)
		}
		if err := json.Unmarshal(s.Body, at); err != nil {
			return nil, fmt.Errorf("write section %q: %w", s.Name, err)
		}
	}
	for _, f := range c.Files {
		out.Storage.Files = append(out.Storage.Files, ignitionFile(f))
	}
	for _, u := range c.Units {
		out.Systemd.Units = append(out.Systemd.Units, ignitionUnit(u))
	}
	for _, u := range c.Users {
		out.Passwd.Users = withUser(out.Passwd.Users, u)
	}
	return canonical(out), nil
}

func ignitionFile(f machine.File) types.File {
	var out types.File
	mode, overwrite := int(f.Mode), true
	out.Path, out.Mode, out.Overwrite = f.Path, &mode, &overwrite
	out.Contents.Source = encode(f.Contents)
	out.User.ID, out.User.Name = ignitionOwner(f.User)
	out.Group.ID, out.Group.Name = ignitionOwner(f.Group)
	return out
}

func ignitionOwner(owner string) (id *int, name *string) {
	if owner == "" {
		return nil, nil
	}
	if n, err := strconv.Atoi(owner); err == nil && strconv.Itoa(n) == owner {
		return &n, nil
	}
	return nil, &owner
}

func ignitionUnit(u machine.Unit) types.Unit {
	out := types.Unit{Name: u.Name}
	if u.Contents != "" {
		out.Contents = &u.Contents
	}
	if u.Enablement != machine.Preset {
		enabled := u.Enablement == machine.Enabled
		out.Enabled = &enabled
	}
	if u.Mask {
		out.Mask = &u.Mask
	}
	for _, d := range u.DropIns {
		out.Dropins = append(out.Dropins, types.Dropin{Name: d.Name, Contents: &d.Contents})
	}
	return out
}

// withUser adds keys and password to the account of that name, which a first boot section may
// have brought already.
func withUser(all []types.PasswdUser, u machine.User) []types.PasswdUser {
	at := len(all)
	for i := range all {
		if all[i].Name == u.Name {
			at = i
		}
	}
	if at == len(all) {
		all = append(all, types.PasswdUser{Name: u.Name})
	}
	for _, key := range u.SSHKeys {
		all[at].SSHAuthorizedKeys = append(all[at].SSHAuthorizedKeys, types.SSHAuthorizedKey(key))
	}
	if u.PasswordHash != "" {
		all[at].PasswordHash = &u.PasswordHash
	}
	return all
}
