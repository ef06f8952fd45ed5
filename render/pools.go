package render

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/sluice-gitops/sluice/machine"
)

// Pools renders one config per pool. Every mistake of the authors comes back at once, as Errors
// sorted by file; there is no other kind of error. With an error the Result holds no pool, and of
// the notices those that were found until then.
//
// Selection and merge follow MCO main, with the overlay layout on top: in a build with exactly
// one MachineConfigPool an absent selector means all of the build.
func Pools(builds []Build) (Result, error) { return Options{}.Pools(builds) }

// Options are what a repository does not say of the fleet that it is for.
type Options struct {
	Profile    machine.Profile // whose nodes they are; "" is openshift
	ClusterDNS string          // the DNS of the cluster on OpenShift; "" is the one of its default network

	// KeepZero lets a field of a KubeletConfig that is false, 0 or empty replace the default of
	// the platform. MCO main loses such a field, so this is off unless it is asked for.
	KeepZero bool
}

// Pools is the function Pools for such a fleet.
func (o Options) Pools(builds []Build) (Result, error) { return o.pools(builds, len(builds) > 1) }

// Sound is what those of several builds amount to that hold no mistake, where Pools refuses them
// as a whole. It is for an author to look at, and never for nodes: what the other builds say of
// pools and of their rollout is missing.
func (o Options) Sound(builds []Build) Result {
	var sound []Build
	for _, b := range builds {
		if _, err := o.pools([]Build{b}, len(builds) > 1); err == nil {
			sound = append(sound, b)
		}
	}
	result, err := o.pools(sound, len(builds) > 1)
	if err != nil {
		return Result{} // they contradict each other
	}
	return result
}

// pools renders builds, which with overlays are some of several.
func (o Options) pools(builds []Build, overlays bool) (Result, error) {
	r := newReader(o)
	var all []universe
	for _, b := range builds {
		r.notices, r.errs = append(r.notices, b.Notices...), append(r.errs, b.Errors...)
		all = append(all, r.read(b))
	}
	for i := range all {
		r.generate(&all[i], overlays)
	}
	if len(r.errs) > 0 {
		return r.refused()
	}
	pools := r.gather(all, overlays)
	policies, disruptions := r.policies(all, pools), r.disruptions(all)
	if len(r.errs) > 0 {
		return r.refused()
	}
	var result Result
	for _, p := range pools {
		config, origins := r.fold(p)
		digest, size := config.Weigh()
		if size > machine.MaxEncoded {
			r.fail(p.file, "", "pool %s unpacks to %d bytes, and %d are the most that an agent takes: put large files into an image", p.name, size, machine.MaxEncoded)
		}
		result.Pools = append(result.Pools, Pool{
			Name: p.name, Selector: p.nodes, Strategy: p.strategy, Policy: policies[p.name],
			Rules:  r.bounded(p, o.impactRules(disruptions, policies[p.name])),
			Config: config, Digest: digest, Origins: origins,
		})
	}
	if len(r.errs) > 0 {
		return r.refused()
	}
	result.Notices = r.said()
	return result, nil
}

func (r *reader) refused() (Result, error) { return Result{Notices: r.said()}, r.failed() }

// said is what was passed over, each kind once, and what was noticed.
func (r *reader) said() []string {
	for kind, n := range r.passed {
		r.notice("%s: %s passed over, not a kind of node configuration", kind, count(n))
	}
	for file, n := range r.rendered {
		r.notice("%s: %s of rendered MachineConfigs passed over: a controller merged them from others", file, count(n))
	}
	for i, n := range r.notices {
		r.notices[i] = visible(n)
	}
	slices.Sort(r.notices)
	return slices.Compact(r.notices)
}

func count(documents int) string {
	if documents == 1 {
		return "1 document"
	}
	return fmt.Sprint(documents, " documents")
}

// failed is everything that was found wrong so far.
func (r *reader) failed() error {
	if len(r.errs) == 0 {
		return nil
	}
	return Sorted(r.errs)
}

// Sorted orders mistakes by file, line, field and words, without repeats: a base that several
// overlays include would say its mistakes once for each.
func Sorted(errs Errors) Errors {
	slices.SortFunc(errs, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Why, b.Why))
	})
	return slices.Compact(errs)
}

// gather finds the pools of all builds and what each of them takes, sorted by name.
func (r *reader) gather(all []universe, overlays bool) []taken {
	declared := map[string]string{} // pool name -> file that declares it
	for _, u := range all {
		for _, p := range u.pools {
			if before, twice := declared[p.name]; twice {
				r.failIn(p.at, p.file, "metadata.name", "pool %s is declared in %s, too: one pool has one config", p.name, before)
				continue
			}
			declared[p.name] = p.file
		}
	}
	implied := map[string]string{} // pool name -> build that implies it
	var out []taken
	for _, u := range all {
		selected := map[string]bool{}
		for _, p := range u.pools {
			t := r.take(u, p)
			for _, c := range t.configs {
				selected[c.Name] = true
			}
			out = append(out, t)
		}
		for _, t := range r.imply(u, selected, declared, overlays) {
			if before, twice := implied[t.name]; twice {
				r.fail(u.dir, "", "pool %s is implied by MachineConfigs of %s, too: write a MachineConfigPool %s", t.name, before, t.name)
				continue
			}
			implied[t.name] = u.dir
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		r.notice("no pool: there is neither a MachineConfigPool nor a MachineConfig with the label %s", roleLabel)
	}
	slices.SortFunc(out, func(a, b taken) int { return cmp.Compare(a.name, b.name) })
	return out
}

// taken is a pool and the MachineConfigs that are its own, in merge order.
type taken struct {
	pool
	dir     string
	configs []config
}

// take selects by the pool's own words. An absent or empty selector selects nothing, as in MCO,
// except where the build has this one pool and the selector is absent.
func (r *reader) take(u universe, p pool) taken {
	t := taken{pool: p, dir: u.dir}
	overlay := len(u.pools) == 1
	if t.nodes == nil && overlay && p.noNodes == absent {
		t.nodes = r.role(p.at, p.file, "metadata.name", p.name)
	} else if t.nodes == nil {
		r.notice("%s: pool %s has no nodeSelector that selects a node: it has no nodes", p.file, p.name)
	}
	for _, c := range u.configs {
		if p.selects(c.Labels) || overlay && p.noConfigs == absent {
			t.configs = append(t.configs, c)
		}
	}
	if p.configs == nil && !(overlay && p.noConfigs == absent) {
		r.notice("%s: pool %s takes no MachineConfig: its machineConfigSelector is %s", p.file, p.name, p.noConfigs)
	} else if len(t.configs) == 0 {
		r.notice("%s: pool %s takes no MachineConfig: none matches", p.file, p.name)
	}
	inMergeOrder(t.configs)
	return t
}

// imply makes the pools of roles that have no MachineConfigPool, as worker and master exist on
// OpenShift without one in Git. Where there are several builds each overlay speaks for its own
// pool, so that what its pool takes from a base implies nothing.
func (r *reader) imply(u universe, selected map[string]bool, declared map[string]string, overlays bool) []taken {
	byRole := map[string][]config{}
	for _, c := range u.configs {
		role := c.Labels[roleLabel]
		switch {
		case selected[c.Name] && (overlays || role == ""):
		case role == "":
			r.notice("%s: no pool selects MachineConfig %s: it has no label %s", c.file, c.Name, roleLabel)
		case declared[role] != "":
			if !selected[c.Name] {
				r.notice("%s: no pool of %s takes MachineConfig %s", c.file, u.dir, c.Name)
			}
		default:
			byRole[role] = append(byRole[role], c)
		}
	}
	var out []taken
	for _, role := range slices.Sorted(maps.Keys(byRole)) {
		t := taken{dir: u.dir, configs: byRole[role]}
		t.name, t.file = role, byRole[role][0].file
		t.nodes = r.role(byRole[role][0].at, t.file, "metadata.labels["+roleLabel+"]", role)
		if role != worker && role != master {
			r.notice("pool %s is implied by a label in %s: it takes the MachineConfigs of that role only", role, t.file)
		}
		inMergeOrder(t.configs)
		out = append(out, t)
	}
	return out
}

// inMergeOrder sorts as MCO main does: those of role worker first, then all others, each by name.
func inMergeOrder(configs []config) {
	slices.SortStableFunc(configs, func(a, b config) int {
		return cmp.Or(cmp.Compare(group(a), group(b)), cmp.Compare(a.Name, b.Name))
	})
}

func group(c config) int {
	if c.Labels[roleLabel] == worker {
		return 0
	}
	return 1
}

// fail is a mistake in what is being read, or one that has no line.
func (r *reader) fail(file, field, format string, args ...any) {
	r.failIn(r.now, file, field, format, args...)
}

func (r *reader) failIn(at place, file, field, format string, args ...any) {
	r.errs = append(r.errs, Error{File: file, Line: at.line(field), Field: field, Why: fmt.Sprintf(format, args...)})
}

func (r *reader) notice(format string, args ...any) {
	r.notices = append(r.notices, fmt.Sprintf(format, args...))
}
