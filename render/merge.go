package render

import (
	"reflect"

	ignition "github.com/coreos/ignition/v2/config/merge"
	v3 "github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

// merge gives what Ignition's own merge gives when it puts one config after the other over the
// sum of those before it. That costs a pass over the sum for each; here, what has one name is
// gathered first, and only that is merged.
func merge(configs []types.Config) types.Config {
	var files list[types.File]
	var directories list[types.Directory]
	var links list[types.Link]
	var units list[types.Unit]
	var rest []types.Config
	for _, c := range configs {
		for _, f := range c.Storage.Files {
			directories.drop(f.Path)
			links.drop(f.Path)
			files.add(f.Path, f)
		}
		for _, d := range c.Storage.Directories {
			files.drop(d.Path)
			links.drop(d.Path)
			directories.add(d.Path, d)
		}
		for _, l := range c.Storage.Links {
			files.drop(l.Path)
			directories.drop(l.Path)
			links.add(l.Path, l)
		}
		for _, u := range c.Systemd.Units {
			units.add(u.Name, u)
		}
		c.Storage.Files, c.Storage.Directories, c.Storage.Links, c.Systemd.Units = nil, nil, nil, nil
		c.Ignition.Version = ""
		if !reflect.ValueOf(c).IsZero() {
			rest = append(rest, c)
		}
	}
	out := manifest.Empty()
	if len(rest) > 0 {
		out = v3.Merge(byHalves(rest, v3.Merge), out)
	}
	out.Storage.Files, out.Storage.Directories, out.Storage.Links = files.merged(), directories.merged(), links.merged()
	out.Systemd.Units = units.merged()
	return out
}

// list is what several configs have in lists of one name. A path is in one list only: the last
// config that has it decides whether it is a file, a directory or a link.
type list[T any] struct {
	chains []*chain[T]
	named  map[string]*chain[T]
}

// chain is all of one name, in merge order. It is empty once another list has taken the name.
type chain[T any] struct{ elements []T }

func (l *list[T]) add(name string, e T) {
	if l.named == nil {
		l.named = map[string]*chain[T]{}
	}
	c := l.named[name]
	if c == nil {
		c = &chain[T]{}
		l.named[name], l.chains = c, append(l.chains, c)
	}
	c.elements = append(c.elements, e)
}

func (l *list[T]) drop(name string) {
	if c := l.named[name]; c != nil {
		c.elements = nil
		delete(l.named, name)
	}
}

func (l *list[T]) merged() []T {
	var out []T
	for _, c := range l.chains {
		if len(c.elements) > 0 {
			out = append(out, byHalves(c.elements, over[T]))
		}
	}
	return out
}

// over is Ignition's merge of one element.
func over[T any](parent, child T) T {
	sum, _ := ignition.MergeStructTranscribe(parent, child)
	return sum.(T)
}

// byHalves merges neighbours first, which gives the same as one after the other: per field, the
// last that sets it. It costs n log n where many add to one list.
func byHalves[T any](all []T, merge func(parent, child T) T) T {
	if len(all) == 1 {
		return all[0]
	}
	half := len(all) / 2
	return merge(byHalves(all[:half], merge), byHalves(all[half:], merge))
}
