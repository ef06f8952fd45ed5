package render

import (
	"path"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
)

// stateDir is where the agent keeps its own; it refuses any config that writes there.
const stateDir = "/var/lib/sluice"

const unitDir = "/etc/systemd/system"

// forceFile makes MCO's daemon reboot without asking; as there, no config may bring it.
const forceFile = "/run/machine-config-daemon-force"

// osDirs are directories on every node, so that none of them can be a file.
var osDirs = []string{"/boot", "/etc", "/etc/systemd", unitDir, "/home", "/root", "/run", "/tmp", "/usr", "/var", "/var/lib"}

// standing refuses the files that no node could take, whatever is on it. Without it the first
// node would find out, and the pool would stop there.
func (r *reader) standing(c machine.Config, from sources) {
	refuse := func(file, why string, args ...any) {
		r.failIn(from[file].at, from[file].file, "spec.config.storage.files["+file+"].path", why, args...)
	}
	above := map[string]bool{}
	for _, f := range c.Files {
		switch {
		case f.Path == stateDir || strings.HasPrefix(f.Path, stateDir+"/"):
			refuse(f.Path, "belongs to the agent, as all of %s does: choose another path", stateDir)
		case f.Path == forceFile:
			refuse(f.Path, "may not be written by a config: it would force a reboot past every check")
		case slices.Contains(osDirs, f.Path):
			refuse(f.Path, "is a directory on every node: name a file in it")
		default:
			above[f.Path] = true
		}
	}
	below := func(p, cause string) {
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			if above[dir] {
				delete(above, dir) // one path below it says enough
				refuse(dir, "is a directory, since %s of %s is below it: move one of them", p, from[cause].file)
			}
		}
	}
	for _, f := range c.Files {
		below(f.Path, f.Path)
	}
	for _, u := range c.Units {
		below(unitDir+"/"+u.Name, u.Name)
		for _, d := range u.DropIns {
			below(unitDir+"/"+u.Name+".d/"+d.Name, u.Name)
		}
	}
}
