package manifest

import (
	"encoding/json"
	"path"
	"reflect"
	"slices"

	"github.com/coreos/ignition/v2/config/v3_5/types"
)

// conversion turns an Ignition 2 config into one of 3.5, as MCO main does: of two entries with
// one name the later wins, drop-ins and ssh keys are put together, and what Ignition 3 has no
// word for is a mistake.
type conversion struct {
	old      config2
	new      types.Config
	warnings Errors
	errs     Errors
}

// convert reads 2.0 to 2.4. MCO main reads 2.0 to 2.2 only; what the later ones add has the same
// name in Ignition 3.
func convert(raw []byte, version string) (types.Config, Errors, Errors) {
	c := conversion{new: Empty()}
	if err := json.Unmarshal(raw, &c.old); err != nil {
		if raw, c.errs = mismatches(raw, reflect.TypeFor[config2](), err); raw == nil || json.Unmarshal(raw, &c.old) != nil {
			return Empty(), nil, c.errs
		}
	}
	var tree any
	var s shape
	if json.Unmarshal(raw, &tree) == nil {
		s.compare(tree, reflect.TypeFor[config2](), inConfig)
	}
	c.warnings = s.unknown
	if version == "2.0.0" || version == "2.1.0" {
		c.oldModes()
	}
	c.ignition()
	c.passwd()
	c.storage()
	c.files()
	c.units()
	c.throughLinks()
	config, warnings, errs := parse3(encoded(c.new))
	for _, e := range errs {
		if !c.errs.at(e.Field) {
			c.errs = append(c.errs, e)
		}
	}
	return config, append(c.warnings, warnings...), c.errs
}

// oldModes gives what has no mode the mode 0, as 2.0 and 2.1 mean it.
func (c *conversion) oldModes() {
	fix := func(kind, name string, mode **int) {
		if *mode == nil {
			*mode = new(int)
			c.warnings.add(inConfig+".storage."+kind+"["+name+"].mode", "is missing, which is mode 0 up to Ignition 2.1: write the mode")
		}
	}
	for i := range c.old.Storage.Files {
		fix("files", c.old.Storage.Files[i].Path, &c.old.Storage.Files[i].Mode)
	}
	for i := range c.old.Storage.Directories {
		fix("directories", c.old.Storage.Directories[i].Path, &c.old.Storage.Directories[i].Mode)
	}
}

func (c *conversion) ignition() {
	in, out := c.old.Ignition, &c.new.Ignition
	out.Config.Merge = in.Config.Append
	if in.Config.Replace != nil {
		out.Config.Replace = *in.Config.Replace
	}
	out.Timeouts, out.Security, out.Proxy = in.Timeouts, in.Security, in.Proxy
	for _, u := range c.old.Networkd.Units {
		c.errs.add(inConfig+".networkd.units["+u.Name+"]", "Ignition 3 has no networkd section: write it as a file below /etc/systemd/network to storage.files")
	}
}

// passwd puts the keys of core together, those of the last entry first and each once. Any other
// user is a mistake.
func (c *conversion) passwd() {
	c.new.Passwd.Groups = c.old.Passwd.Groups
	users := c.old.Passwd.Users
	var core types.PasswdUser
	for i, u := range slices.Backward(users) {
		field := inConfig + ".passwd.users[" + u.Name + "]"
		if u.Name != Core {
			c.errs.add(field, "only the user core can be converted from Ignition 2: write the config as 3.5.0 for others")
			continue
		}
		if u.Create != nil {
			c.errs.add(field+".create", "is not known to Ignition 3: write its fields to the user itself")
		}
		keys := append(slices.Clone(core.SSHAuthorizedKeys), u.SSHAuthorizedKeys...)
		if i == len(users)-1 {
			core = u.PasswdUser
		}
		core.SSHAuthorizedKeys = once(keys, func(k types.SSHAuthorizedKey) string { return string(k) })
	}
	if core.Name == Core {
		c.new.Passwd.Users = []types.PasswdUser{core}
	}
}

// once keeps the first element of each key.
func once[T any](in []T, key func(T) string) (out []T) {
	seen := map[string]bool{}
	for _, e := range in {
		if k := key(e); !seen[k] {
			seen[k] = true
			out = append(out, e)
		}
	}
	return out
}

func (c *conversion) storage() {
	for _, d := range c.old.Storage.Disks {
		out := types.Disk{Device: d.Device, WipeTable: yes(d.WipeTable)}
		for _, p := range d.Partitions {
			if p.Size != 0 || p.Start != 0 {
				c.errs.add(inConfig+".storage.disks["+d.Device+"].partitions", "size and start in sectors are not known to Ignition 3: write sizeMiB and startMiB")
			}
			out.Partitions = append(out.Partitions, p.Partition)
		}
		c.new.Storage.Disks = append(c.new.Storage.Disks, out)
	}
	c.new.Storage.Raid = c.old.Storage.Raid
	for _, f := range c.old.Storage.Filesystems {
		field := inConfig + ".storage.filesystems[" + f.Name + "]"
		switch {
		case f.Name != "root":
			c.errs.add(field, "only the filesystem root can be converted from Ignition 2: Ignition 3 mounts by path, so write the config as 3.5.0")
		case f.Mount != nil && f.Mount.Create != nil && !f.Mount.Create.Force:
			c.errs.add(field+".mount.create", "is not known to Ignition 3 without force")
		default:
			c.warnings.add(field, "is left out: Ignition 3 knows the root filesystem without it")
		}
	}
	for _, d := range c.old.Storage.Directories {
		out := types.Directory{Node: c.node("directories", d.node2)}
		out.Mode = d.Mode
		c.new.Storage.Directories = append(c.new.Storage.Directories, out)
	}
	for _, l := range c.old.Storage.Links {
		out := types.Link{Node: c.node("links", l.node2)}
		out.Hard, out.Target = yes(l.Hard), &l.Target
		c.new.Storage.Links = append(c.new.Storage.Links, out)
	}
}

func (c *conversion) node(kind string, n node2) types.Node {
	field := inConfig + ".storage." + kind + "[" + n.Path + "].filesystem"
	switch n.Filesystem {
	case "root":
	case "":
		c.errs.add(field, `is missing: write "root"`)
	default:
		c.errs.add(field, "only root can be converted from Ignition 2: write the path as the node sees it, and root")
	}
	if path.IsAbs(n.Path) {
		n.Path = path.Clean(n.Path)
	}
	n.User.Name, n.Group.Name = set(n.User.Name), set(n.Group.Name)
	return types.Node{Path: n.Path, Overwrite: n.Overwrite, User: n.User, Group: n.Group}
}

// files keeps the last file of each path. Without contents it is empty in Ignition 2, not as it was.
func (c *conversion) files() {
	files := slices.Clone(c.old.Storage.Files)
	slices.Reverse(files)
	for _, f := range once(files, func(f file2) string { return f.Path }) {
		out := types.File{Node: c.node("files", f.node2)}
		out.Mode = f.Mode
		if f.Contents.Source == nil {
			f.Contents.Source = new(string)
		}
		f.Contents.Compression = set(f.Contents.Compression)
		if f.Append {
			out.Overwrite = nil // which no file may be that is appended to
			out.Append = []types.Resource{f.Contents}
		} else {
			out.Contents = f.Contents
		}
		c.new.Storage.Files = append(c.new.Storage.Files, out)
	}
}

// units keeps the last unit of each name, with the drop-ins of all of them.
func (c *conversion) units() {
	units := slices.Clone(c.old.Systemd.Units)
	slices.Reverse(units)
	dropIns := map[string][]dropIn2{}
	for _, u := range units {
		dropIns[u.Name] = append(dropIns[u.Name], u.Dropins...)
	}
	for _, u := range once(units, func(u unit2) string { return u.Name }) {
		out := types.Unit{Name: u.Name, Contents: set(&u.Contents), Mask: yes(u.Mask), Enabled: u.Enabled}
		if u.Enabled == nil {
			out.Enabled = yes(u.Enable)
		}
		for _, d := range once(dropIns[u.Name], func(d dropIn2) string { return d.Name }) {
			out.Dropins = append(out.Dropins, types.Dropin{Name: d.Name, Contents: set(&d.Contents)})
		}
		c.new.Systemd.Units = append(c.new.Systemd.Units, out)
	}
}

// throughLinks refuses paths below a link of the same config: Ignition 3 would not follow it.
func (c *conversion) throughLinks() {
	links := map[string]bool{}
	for _, l := range c.new.Storage.Links {
		links[l.Path] = true
	}
	check := func(kind string, n types.Node) {
		for i := range n.Path {
			if n.Path[i] == '/' && links[n.Path[:i]] {
				c.errs.add(inConfig+".storage."+kind+"["+n.Path+"].path", "leads through the link %s of the same config: write where it leads to", n.Path[:i])
			}
		}
	}
	for _, f := range c.new.Storage.Files {
		check("files", f.Node)
	}
	for _, d := range c.new.Storage.Directories {
		check("directories", d.Node)
	}
	for _, l := range c.new.Storage.Links {
		check("links", l.Node)
	}
}

// set is nil for an empty text, which Ignition 2 does not tell from none.
func set(s *string) *string {
	if s == nil || *s == "" {
		return nil
	}
	return s
}

// yes is nil for false, likewise.
func yes(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}
