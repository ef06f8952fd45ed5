package render

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/render/mirror"
)

// mirrorObject is an object that says where images are pulled from. It is of no pool.
type mirrorObject struct {
	mirror.Object
	file string
	at   place
}

func (r *reader) mirrorObject(u *universe, file, kind string, encoded []byte) {
	o, err := mirror.Parse(kind, encoded)
	if err != nil {
		r.refuse(file, err)
		return
	}
	for _, other := range u.mirrors {
		if other.Kind == o.Kind && other.Name == o.Name {
			r.fail(file, "metadata.name", "%s %s stands in %s, too", o.Kind, o.Name, other.file)
			return
		}
	}
	u.mirrors = append(u.mirrors, mirrorObject{o, file, r.now})
}

// generateMirrors makes one MachineConfig of all mirror objects for each pool that does not
// inherit them.
func (r *reader) generateMirrors(u *universe, targets []target) {
	if len(u.mirrors) == 0 {
		return
	}
	slices.SortFunc(u.mirrors, func(a, b mirrorObject) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	var objects []mirror.Object
	var from []string
	for _, m := range u.mirrors {
		objects = append(objects, m.Object)
		from = append(from, m.file)
	}
	slices.Sort(from)
	file := strings.Join(slices.Compact(from), ", ")
	files, notices, wrong := mirror.Files(objects, r.options.Profile)
	for _, m := range wrong {
		r.failIn(u.mirrors[m.Object].at, u.mirrors[m.Object].file, m.Field, "%s", m.Why)
	}
	for _, n := range notices {
		r.notice("%s: %s", file, n)
	}
	if len(files) == 0 {
		return
	}
	pools := u.mirrored(targets)
	if len(pools) == 0 {
		r.notice("%s: mirrors have no effect in %s: its pool takes the MachineConfigs of neither worker nor master", file, u.dir)
	}
	for _, pool := range pools {
		r.add(u, "99-"+pool+"-generated-registries", pool, file, "mirrors", files)
	}
}

// mirrored are the pools for which mirrors are generated: worker and master, from which custom
// pools inherit, or the one pool of an overlay.
func (u universe) mirrored(targets []target) (pools []string) {
	if len(u.pools) == 1 {
		p := u.pools[0]
		if u.ofOnePool() {
			return []string{p.name}
		}
		for _, role := range []string{p.name, worker, master} {
			if (role == worker || role == master) && p.selects(map[string]string{roleLabel: role}) {
				return []string{role}
			}
		}
		return nil
	}
	for _, t := range targets {
		if t.name == worker || t.name == master {
			pools = append(pools, t.name)
		}
	}
	return pools
}
