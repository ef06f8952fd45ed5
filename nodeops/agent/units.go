package agent

import (
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// unitDir is where units of the administrator stand. They win over those that the OS ships.
const unitDir = "/etc/systemd/system/"

// unit lays out a unit's own files: its text or its mask, and its drop-ins.
func (l *layout) unit(u machine.Unit) {
	if !isUnitName(u.Name) {
		l.refuse("unit %q: is not a unit's name", u.Name)
		return
	}
	at := unitDir + u.Name
	switch {
	case u.Mask:
		l.put(at, Entry{Kind: Symlink, Target: "/dev/null", Unit: u.Name})
	case u.Contents != "":
		l.put(at, Entry{Kind: Regular, Mode: 0o644, Data: []byte(u.Contents), Unit: u.Name})
	}
	for _, d := range u.DropIns {
		if strings.ContainsAny(d.Name, "/\x00") || !strings.HasSuffix(d.Name, ".conf") {
			l.refuse("unit %q: drop-in %q: is not a file name that ends in .conf", u.Name, d.Name)
			continue
		}
		l.put(at+".d/"+d.Name, Entry{Kind: Regular, Mode: 0o644, Data: []byte(d.Contents), Unit: u.Name})
	}
}

func isUnitName(name string) bool {
	stem, suffix, ok := cutLast(name, ".")
	return ok && stem != "" && suffix != "" && !strings.ContainsAny(name, "/\x00 \t\n%")
}

// oneOf is the unit that an action is about: the first of several, as impact's rules name them,
// that the OS of this node has. Where it has none, doing it to the first says so.
func (f Facts) oneOf(units string) string {
	several := impact.Units(units)
	for _, name := range several {
		if f.Unit != nil {
			if at, _ := f.Unit(name); at != "" {
				return name
			}
		}
	}
	return several[0]
}

// enablement lays out the links by which systemd starts a unit at boot: put for an enabled unit,
// taken away for a disabled one. A unit that the config presets is left as the OS has it. A unit
// without text (not shipped yet, say, because it comes with the OS image of the same config) and
// one without an [Install] section have no links, as with systemctl.
func (l *layout) enablement(u machine.Unit) {
	if u.Enablement == machine.Preset || u.Mask && u.Enablement == machine.Enabled {
		return
	}
	seen := map[string]bool{}
	for queue := []string{u.Name}; len(queue) > 0; queue = queue[1:] {
		name := queue[0]
		if seen[name] || !isUnitName(name) {
			continue
		}
		seen[name] = true
		links, also := l.links(name)
		queue = append(queue, also...)
		for _, link := range sortedKeys(links) {
			e := Entry{Kind: Symlink, Target: links[link], Enables: u.Name}
			if u.Enablement == machine.Disabled {
				e = Entry{Kind: Absent, Enables: u.Name}
			}
			l.put(link, e)
		}
	}
}

// installFields are the ways for a unit to be pulled in by another, each by a link in a folder.
var installFields = []struct{ name, folder string }{
	{"WantedBy", ".wants/"}, {"RequiredBy", ".requires/"}, {"UpheldBy", ".upholds/"},
}

// links reads the [Install] section of a unit: link -> what it points to, and the units that are
// enabled with it.
func (l *layout) links(name string) (links map[string]string, also []string) {
	at, install := l.install(name)
	if at == "" {
		return nil, nil
	}
	instance := name
	if prefix, suffix, ok := template(name); ok { // a template starts as its default instance
		if d := install["DefaultInstance"]; len(d) > 0 {
			instance = prefix + "@" + d[len(d)-1] + suffix
		}
	}
	links = map[string]string{}
	_, _, open := template(instance)
	for _, f := range installFields {
		for _, by := range install[f.name] {
			if !open {
				l.link(links, name, expand(by, instance), f.folder+instance, at)
			}
		}
	}
	for _, alias := range install["Alias"] {
		l.link(links, name, expand(alias, instance), "", at)
	}
	for _, a := range install["Also"] {
		also = append(also, expand(a, instance))
	}
	return links, also
}

func (l *layout) link(links map[string]string, unit, by, rest, at string) {
	if !isUnitName(by) {
		l.refuse("unit %q: [Install] names %q, which is not a unit's name", unit, by)
		return
	}
	if unitDir+by+rest != at { // an alias of its own name
		links[unitDir+by+rest] = at
	}
}

// install gathers the [Install] section of a unit over its text and the config's drop-ins, as
// systemd reads it: an empty value forgets what came before.
func (l *layout) install(name string) (at string, fields map[string][]string) {
	at, texts := l.texts(name)
	fields = map[string][]string{}
	for _, text := range texts {
		options, err := unit.DeserializeOptions(strings.NewReader(text))
		if err != nil {
			l.refuse("unit %q: contents: %w", name, err)
			return "", nil
		}
		for _, o := range options {
			switch {
			case o.Section != "Install":
			case strings.TrimSpace(o.Value) == "":
				fields[o.Name] = nil
			default:
				fields[o.Name] = append(fields[o.Name], strings.Fields(o.Value)...)
			}
		}
	}
	return at, fields
}

// texts finds a unit's text, or that of its template, with the drop-ins of the config.
func (l *layout) texts(name string) (at string, texts []string) {
	names := []string{name}
	if prefix, rest, ok := strings.Cut(name, "@"); ok && !strings.HasPrefix(rest, ".") {
		names = append(names, prefix+"@"+path.Ext(name))
	}
	for _, n := range names {
		if own := l.units[n]; own.Contents != "" && at == "" {
			at, texts = unitDir+n, []string{own.Contents}
		}
		if at == "" && l.facts.Unit != nil {
			shipped, text := l.facts.Unit(n)
			at, texts = shipped, []string{text}
		}
	}
	for _, n := range slices.Backward(names) {
		for _, d := range l.units[n].DropIns {
			texts = append(texts, d.Contents)
		}
	}
	return at, texts
}

// template splits the name of a template, "getty@.service".
func template(name string) (prefix, suffix string, ok bool) {
	prefix, suffix, ok = strings.Cut(name, "@")
	return prefix, suffix, ok && strings.HasPrefix(suffix, ".")
}

// expand fills in the specifiers that make sense in an [Install] section. Any other one stays,
// and no unit's name holds a percent sign, so it is refused.
func expand(text, name string) string {
	stem, _, _ := cutLast(name, ".")
	prefix, instance, _ := strings.Cut(stem, "@")
	_, last, ok := cutLast(prefix, "-")
	if !ok {
		last = prefix
	}
	return strings.NewReplacer("%%", "%", "%n", name, "%N", stem, "%p", prefix, "%i", instance, "%j", last).Replace(text)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
