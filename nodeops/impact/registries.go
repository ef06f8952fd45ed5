package impact

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pelletier/go-toml/v2"
)

// registriesConf is what decides of a registries.conf in its second format. Anything else in
// the file never drains, as in MCO main.
type registriesConf struct {
	Search   []string   `toml:"unqualified-search-registries"`
	Registry []registry `toml:"registry"`
	Version1 any        `toml:"registries"`
}

type registry struct {
	Prefix     string   `toml:"prefix"`
	Location   string   `toml:"location"`
	Blocked    bool     `toml:"blocked"`
	Insecure   bool     `toml:"insecure"`
	DigestOnly bool     `toml:"mirror-by-digest-only"`
	Mirrors    []mirror `toml:"mirror"`
}

type mirror struct {
	Location string `toml:"location"`
	Pull     string `toml:"pull-from-mirror"`
}

const digestOnly = "digest-only"

// unsafeMirrors says why going from one registries.conf to the other needs a drain, each reason
// by itself and in a fixed order; none when it does not. Safe is what cannot change which image a
// tag names on a running node: the rules are those of MCO main. A file that is not there is an
// empty one; one that cannot be read drains.
func unsafeMirrors(old, new []byte) []string {
	before, err := readRegistries(old)
	if err != nil {
		return []string{"the old file cannot be read: " + err.Error()}
	}
	after, err := readRegistries(new)
	if err != nil {
		return []string{"the new file cannot be read: " + err.Error()}
	}
	why := unsafeSearch(before.Search, after.Search)
	name := func(r registry) string {
		if r.Prefix != "" {
			return r.Prefix
		}
		return r.Location
	}
	had, have := byName(before.Registry, name), byName(after.Registry, name)
	for _, n := range slices.Sorted(maps.Keys(had)) {
		if r, ok := have[n]; ok {
			why = append(why, unsafeRegistry(n, had[n], r)...)
			continue
		}
		why = append(why, "registry "+n+" removed")
	}
	for _, n := range slices.Sorted(maps.Keys(have)) {
		if _, ok := had[n]; !ok {
			why = append(why, unsafeNewRegistry(n, have[n])...)
		}
	}
	return shortened(why)
}

// unsafeSearch names the first search registry that is not where it was: more may only be appended.
func unsafeSearch(old, new []string) []string {
	for i, r := range old {
		switch {
		case !slices.Contains(new, r):
			return []string{"search registry " + r + " removed"}
		case i >= len(new) || new[i] != r:
			return []string{fmt.Sprintf("search registry %s is no longer number %d of the list", r, i+1)}
		}
	}
	return nil
}

func readRegistries(body []byte) (c registriesConf, err error) {
	if err := toml.Unmarshal(body, &c); err != nil {
		return c, err
	}
	if c.Version1 != nil {
		return c, errors.New("it is in the first format ([registries.*]); write [[registry]]")
	}
	return c, nil
}

func unsafeRegistry(name string, old, new registry) (why []string) {
	for _, field := range []struct {
		name     string
		old, new any
	}{
		{"blocked", old.Blocked, new.Blocked},
		{"insecure", old.Insecure, new.Insecure},
		{"location", old.Location, new.Location},
		{"prefix", old.Prefix, new.Prefix},
	} {
		if field.old != field.new {
			why = append(why, fmt.Sprintf("%s of registry %s changed from %#v to %#v", field.name, name, field.old, field.new))
		}
	}
	location := func(m mirror) string { return m.Location }
	had, have := byName(old.Mirrors, location), byName(new.Mirrors, location)
	for _, l := range slices.Sorted(maps.Keys(had)) {
		if _, ok := have[l]; !ok {
			why = append(why, fmt.Sprintf("mirror %s removed from %s", l, name))
		}
	}
	for _, m := range new.Mirrors { // the list, not the map: a location may stand in it twice
		before, known := had[m.Location]
		switch {
		case known && asked(m) != asked(before) && m.Pull != digestOnly:
			why = append(why, fmt.Sprintf("mirror %s of %s is asked for %s, and was for %s", m.Location, name, asked(m), asked(before)))
		case !known && m.Pull != digestOnly && !new.DigestOnly:
			why = append(why, fmt.Sprintf("new mirror %s of %s is not for digests only", m.Location, name))
		}
	}
	return why
}

// unsafeNewRegistry does not look at the flag of the registry where it has mirrors, as MCO main.
func unsafeNewRegistry(name string, r registry) (why []string) {
	if len(r.Mirrors) == 0 && !r.DigestOnly {
		return []string{"new registry " + name + " is not for digests only"}
	}
	for _, m := range r.Mirrors {
		if m.Pull != digestOnly {
			why = append(why, fmt.Sprintf("mirror %s of new registry %s is not for digests only", m.Location, name))
		}
	}
	return why
}

// asked is what a mirror is asked for, in the words of the file.
func asked(m mirror) string { return cmp.Or(m.Pull, "all") }

// mostReasons is how many reasons of one file are told: the first are enough to decide.
const mostReasons = 20

func shortened(why []string) []string {
	if more := len(why) - mostReasons; more > 0 {
		return append(slices.Clip(why[:mostReasons]), fmt.Sprintf("there are %d more such changes", more))
	}
	return why
}
