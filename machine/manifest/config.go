package manifest

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/coreos/ignition/v2/config/v3_5/types"
	"github.com/coreos/ignition/v2/config/validate"
	"github.com/coreos/vcontext/report"

	"github.com/sluice-gitops/sluice/machine"
)

// Core is the one account that MCO keeps on a node that lives.
const Core = "core"

const defaultMode = 0o644

// Config is the node that a spec asks for. Files, units and the keys and password of core are
// kept on a living node; every other section of the Ignition config is for a first boot and is
// kept whole. The error is an Errors.
func Config(s Spec) (machine.Config, error) {
	var errs Errors
	c := machine.Config{
		KernelArgs: slices.Clone(s.KernelArguments),
		OSImage:    s.OSImageURL,
		Extensions: slices.Clone(s.Extensions),
		KernelType: s.KernelType,
		FIPS:       s.FIPS,

		ExtensionsImage: s.ExtensionsImage,
	}
	switch s.KernelType {
	case "default":
		c.KernelType = ""
	case "", "realtime", "64k-pages":
	default:
		errs.add("spec.kernelType", "%q is none of default, realtime, 64k-pages", s.KernelType)
	}
	for _, f := range s.Ignition.Storage.Files {
		c.Files = append(c.Files, file(f, &errs))
	}
	for _, u := range s.Ignition.Systemd.Units {
		c.Units = append(c.Units, unit(u, &errs))
	}
	rest := s.Ignition
	c.Users, rest.Passwd.Users = users(s.Ignition.Passwd.Users)
	c.FirstBoot = sections(&rest)
	errs = append(errs, conflicts(s.Ignition)...)
	if len(c.FirstBoot) > 0 {
		errs = append(errs, checkRest(rest)...)
	}
	if len(errs) > 0 {
		return machine.Config{}, errs
	}
	return c.Canonical(), nil
}

// conflicts are the paths that are given both by themselves and by a unit.
func conflicts(c types.Config) (errs Errors) {
	const dir = "/etc/systemd/system/"
	units := map[string]string{}
	for _, u := range c.Systemd.Units {
		if u.Contents != nil && *u.Contents != "" {
			units[dir+u.Name] = u.Name
		}
		for _, d := range u.Dropins {
			if d.Contents != nil && *d.Contents != "" {
				units[dir+u.Name+".d/"+d.Name] = u.Name
			}
		}
	}
	check := func(kind, path string) {
		if unit, twice := units[path]; twice {
			errs.add(inConfig+".storage."+kind+"["+path+"].path", "is written by the unit %s, too", unit)
		}
	}
	for _, f := range c.Storage.Files {
		check("files", f.Path)
	}
	for _, d := range c.Storage.Directories {
		check("directories", d.Path)
	}
	for _, l := range c.Storage.Links {
		check("links", l.Path)
	}
	return errs
}

// checkRest is Ignition's check of all but files and units. Parts that were right each by itself
// may contradict each other once they are merged.
func checkRest(rest types.Config) (errs Errors) {
	rest.Storage.Files, rest.Systemd.Units = nil, nil
	errs = fixDataURLs(&rest)
	var tree any
	for _, e := range validate.ValidateWithContext(rest, nil).Entries {
		if e.Kind != report.Error {
			continue
		}
		if tree == nil {
			_ = json.Unmarshal(encoded(rest), &tree) // it only names list elements
		}
		errs = append(errs, Error{Field: fieldOf(tree, e.Context), Why: reason(e)})
	}
	return errs
}

func file(f types.File, errs *Errors) machine.File {
	field := inConfig + ".storage.files[" + f.Path + "]"
	out := machine.File{Path: f.Path, Mode: defaultMode}
	if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" || strings.ContainsFunc(f.Path, unicode.IsControl) {
		errs.add(field+".path", "is not a clean absolute path of a file")
	}
	if f.Mode != nil && (*f.Mode < 0 || *f.Mode > 0o777) {
		errs.add(field+".mode", "%s", tooLarge(*f.Mode))
	} else if f.Mode != nil {
		out.Mode = uint32(*f.Mode)
	}
	if len(f.Append) > 0 {
		errs.add(field+".append", "cannot be done on a living node: write the whole file as contents")
	}
	out.User = owner(field+".user", f.User.ID, f.User.Name, errs)
	out.Group = owner(field+".group", f.Group.ID, f.Group.Name, errs)
	contents, wrong := decode(f.Contents)
	if wrong != nil {
		errs.add(field+".contents."+wrong.Field, "%s", wrong.Why)
	}
	out.Contents = contents
	return out
}

// owner is "" for root, so that every way to write root is one config.
func owner(field string, id *int, name *string, errs *Errors) string {
	switch {
	case id != nil && name != nil && *name != "":
		errs.add(field, "has both id and name: give one")
		return ""
	case id != nil && *id < 0:
		errs.add(field+".id", "is negative")
		return ""
	case id != nil && *id != 0:
		return strconv.Itoa(*id)
	case id == nil && name != nil && *name != "root":
		return *name
	}
	return ""
}

func unit(u types.Unit, errs *Errors) machine.Unit {
	field := inConfig + ".systemd.units[" + u.Name + "]"
	out := machine.Unit{Name: u.Name, Mask: u.Mask != nil && *u.Mask}
	checkName(field+".name", u.Name, errs)
	if u.Contents != nil {
		out.Contents = *u.Contents
	}
	if u.Enabled != nil {
		out.Enablement = machine.Disabled
		if *u.Enabled {
			out.Enablement = machine.Enabled
		}
	}
	for _, d := range u.Dropins {
		checkName(field+".dropins["+d.Name+"].name", d.Name, errs)
		drop := machine.DropIn{Name: d.Name}
		if d.Contents != nil {
			drop.Contents = *d.Contents
		}
		out.DropIns = append(out.DropIns, drop)
	}
	return out
}

// checkName keeps a unit below its directory: Ignition looks at the end of a name only.
func checkName(field, name string, errs *Errors) {
	if name == "" || strings.Contains(name, "/") || strings.ContainsFunc(name, unicode.IsControl) {
		errs.add(field, "is not the name of a unit file")
	}
}

// users parts what is kept on a living node from what only a first boot can do.
func users(all []types.PasswdUser) (kept []machine.User, firstBoot []types.PasswdUser) {
	for _, u := range all {
		if u.Name != Core {
			firstBoot = append(firstBoot, u)
			continue
		}
		core := machine.User{Name: Core}
		for _, key := range u.SSHAuthorizedKeys {
			core.SSHKeys = append(core.SSHKeys, string(key))
		}
		if u.PasswordHash != nil {
			core.PasswordHash = *u.PasswordHash
		}
		if len(core.SSHKeys) > 0 || core.PasswordHash != "" {
			kept = append(kept, core)
		}
		u.SSHAuthorizedKeys, u.PasswordHash = nil, nil
		if string(canonical(u)) != string(canonical(types.PasswdUser{Name: Core})) {
			firstBoot = append(firstBoot, u)
		}
	}
	return kept, firstBoot
}
