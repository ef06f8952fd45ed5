package impact

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
)

// Diff is what must follow when a node goes from old to new. It is sorted and without repeats,
// in the order in which things are done: impossible, reboot, drain, daemon-reload, reload,
// restart. Units that one rule restarts one after the other keep that order. Where a reboot is
// needed the lesser actions are left out, but every cause of the reboot is named; where anything
// is to be done, what costs nothing is left out. Two causes may ask for the same deed: whoever
// does it does each (Kind, Unit) once. Nil rules are Defaults(). What no rule knows costs a
// Reboot; nil means that the configs do not differ.
func Diff(old, new machine.Config, rules []Rule) []Action {
	return DiffAny([]machine.Config{old}, new, rules)
}

// DiffAny is Diff for a node that may be at any of the old configs, or half way from one to
// another: all that must follow, whichever it is.
func DiffAny(old []machine.Config, new machine.Config, rules []Rule) []Action {
	if rules == nil {
		rules = Defaults()
	}
	var p plan
	for _, o := range old {
		p.files(o.Files, new.Files, rules)
		p.units(o.Units, new.Units, rules)
		p.users(o.Users, new.Users, rules)
		p.firstBoot(o.FirstBoot, new.FirstBoot)
		p.system(o, new)
	}
	return p.sorted()
}

// plan gathers steps in any order.
type plan []step

type step struct {
	Action
	turn int // its place among the actions of its rule
}

func (p *plan) add(k Kind, cause string) {
	*p = append(*p, step{Action: Action{Kind: k, Cause: cause}})
}

func (p *plan) follow(r Rule, cause string) {
	if len(r.Actions) == 0 {
		p.add(Reboot, cause)
	}
	for i, a := range r.Actions {
		*p = append(*p, step{Action: Action{Kind: a.Kind, Unit: a.Unit, Cause: cause}, turn: i})
	}
}

func (p *plan) files(old, new []machine.File, rules []Rule) {
	name := func(f machine.File) string { return f.Path }
	for path, c := range changes(old, new, name, sameFile) {
		p.file(path, c, forPath(rules, path))
	}
}

func (p *plan) file(path string, c change[machine.File], r Rule) {
	if path == forceFile {
		p.add(Impossible, path)
		return
	}
	if r.Kubelet {
		if why := beyondRestart(c.old.Contents, c.new.Contents); why != "" {
			p.add(Reboot, path+": "+why)
			return
		}
	}
	p.follow(r, path)
	if r.Mirrors {
		for _, why := range unsafeMirrors(c.old.Contents, c.new.Contents) {
			p.add(Drain, path+": "+why)
		}
	}
}

// forceFile orders MCO's agent to ignore what it knows. MCO main refuses it in a config, and no
// rule can allow it.
const forceFile = "/run/machine-config-daemon-force"

func sameFile(a, b machine.File) bool {
	return a.Mode == b.Mode && a.User == b.User && a.Group == b.Group && bytes.Equal(a.Contents, b.Contents)
}

func (p *plan) units(old, new []machine.Unit, rules []Rule) {
	for name := range changes(old, new, func(u machine.Unit) string { return u.Name }, sameUnit) {
		p.follow(forUnit(rules, name), name)
	}
}

func sameUnit(a, b machine.Unit) bool {
	name := func(d machine.DropIn) string { return d.Name }
	same := func(a, b machine.DropIn) bool { return a == b }
	return a.Contents == b.Contents && a.Enablement == b.Enablement && a.Mask == b.Mask &&
		len(changes(a.DropIns, b.DropIns, name, same)) == 0
}

// users follows MCO main but for one thing: of an account, only the keys of core can be changed on
// a node that lives. MCO changes core's password, too; our agent does not write /etc/shadow, and
// what it cannot do must not be promised. An account core without either is the same as none.
func (p *plan) users(old, new []machine.User, rules []Rule) {
	same := func(a, b machine.User) bool {
		return slices.Equal(a.SSHKeys, b.SSHKeys) && a.PasswordHash == b.PasswordHash
	}
	for name, c := range changes(old, new, func(u machine.User) string { return u.Name }, same) {
		field := "passwd.users[" + name + "]"
		if name != "core" {
			p.add(Impossible, field)
			continue
		}
		if !slices.Equal(c.old.SSHKeys, c.new.SSHKeys) {
			p.follow(forSSHKey(rules), field+".sshAuthorizedKeys")
		}
		if c.old.PasswordHash != c.new.PasswordHash {
			p.add(Impossible, field+".passwordHash")
		}
	}
}

// firstBoot judges what Ignition does once. MCO main refuses the sections that would change a
// living node, but passes a changed storage.luks over in silence: here it is refused like the
// other disks, since a node would not become what its config says. The ignition section only
// tells a first boot how to fetch its config, so it costs a living node nothing.
func (p *plan) firstBoot(old, new []machine.Section) {
	same := func(a, b machine.Section) bool { return bytes.Equal(a.Body, b.Body) }
	for name, c := range changes(old, new, func(s machine.Section) string { return s.Name }, same) {
		fetching := name == "ignition" || strings.HasPrefix(name, "ignition.")
		if fetching || name == "storage.links" && onlyRemoves(c.old.Body, c.new.Body) {
			p.add(Nothing, name)
			continue
		}
		p.add(Impossible, name)
	}
}

// onlyRemoves says whether every element of the new JSON list stands in the old one, too.
func onlyRemoves(old, new json.RawMessage) bool {
	var had, have []json.RawMessage
	if err := json.Unmarshal(old, &had); err != nil {
		return false
	}
	if err := json.Unmarshal(new, &have); len(new) > 0 && err != nil {
		return false
	}
	for _, element := range have {
		if !slices.ContainsFunc(had, func(h json.RawMessage) bool { return bytes.Equal(h, element) }) {
			return false
		}
	}
	return true
}

func (p *plan) system(old, new machine.Config) {
	if old.FIPS != new.FIPS {
		p.add(Impossible, "fips")
	}
	if !slices.Equal(old.KernelArgs, new.KernelArgs) { // another order is another command line
		p.add(Reboot, "kernelArguments")
	}
	if old.OSImage != new.OSImage {
		p.add(Reboot, "osImageURL")
	}
	if kernel(old.KernelType) != kernel(new.KernelType) {
		p.add(Reboot, "kernelType")
	}
	if !slices.Equal(old.Extensions, new.Extensions) {
		p.add(Reboot, "extensions")
	}
	if old.ExtensionsImage != new.ExtensionsImage {
		p.add(Reboot, "baseOSExtensionsContainerImage")
	}
}

func kernel(kind string) string { return cmp.Or(kind, "default") }

// sorted is the plan as people and agents read it.
func (p plan) sorted() []Action {
	type deed struct {
		kind Kind
		unit string
	}
	worst, turn := Nothing, map[deed]int{}
	for _, s := range p {
		if s.Kind != Impossible { // it is refused; the rest still says what it would have cost
			worst = max(worst, s.Kind)
		}
		turn[deed{s.Kind, s.Unit}] = max(turn[deed{s.Kind, s.Unit}], s.turn)
	}
	refused := slices.ContainsFunc(p, func(s step) bool { return s.Kind == Impossible })
	var out []Action
	for _, s := range p {
		swallowed := worst == Reboot && s.Kind < Reboot
		idle := s.Kind == Nothing && (worst > Nothing || refused)
		if !swallowed && !idle {
			out = append(out, s.Action)
		}
	}
	slices.SortFunc(out, func(a, b Action) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)),
			cmp.Compare(turn[deed{a.Kind, a.Unit}], turn[deed{b.Kind, b.Unit}]),
			cmp.Compare(a.Unit, b.Unit),
			cmp.Compare(a.Cause, b.Cause))
	})
	return slices.Compact(out)
}

// rank is the place in the order of doing: a unit is read anew before it is restarted, and what
// can be reloaded is reloaded before its dependants restart.
func rank(a Action) int {
	switch {
	case a.Kind >= Drain:
		return -int(a.Kind)
	case a.Kind == Reload && a.Unit == "":
		return 0
	case a.Kind == Nothing:
		return 3
	}
	return int(a.Kind)
}

// change is a thing before and after; the zero T stands for absence.
type change[T any] struct{ old, new T }

// changes finds, by name, what was added, removed or is not the same.
func changes[T any](old, new []T, name func(T) string, same func(a, b T) bool) map[string]change[T] {
	before, after := byName(old, name), byName(new, name)
	out := map[string]change[T]{}
	for n, b := range before {
		if a, ok := after[n]; !ok || !same(b, a) {
			out[n] = change[T]{b, a}
		}
	}
	for n, a := range after {
		if _, ok := before[n]; !ok {
			out[n] = change[T]{new: a}
		}
	}
	return out
}

func byName[T any](in []T, name func(T) string) map[string]T {
	out := make(map[string]T, len(in))
	for _, v := range in {
		out[name(v)] = v
	}
	return out
}
