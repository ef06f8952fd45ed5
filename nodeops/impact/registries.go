package impact

import (
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

// unsafeMirrors says why going from one registries.conf to the other needs a drain; "" when it
// does not. Safe is what cannot change which image a tag names on a running node: the rules are
// those of MCO main. A file that is not there is an empty one; one that cannot be read drains.
func unsafeMirrors(old, new []byte) string {
	before, err := readRegistries(old)
	if err != nil {
		return "the old file cannot be read: " + err.Error()
	}
	after, err := readRegistries(new)
	if err != nil {
		return "the new file cannot be read: " + err.Error()
	}
	var why []string
	if n := len(before.Search); n > len(after.Search) || !slices.Equal(before.Search, after.Search[:n]) {
		why = append(why, "unqualified-search-registries is not only appended to")
	}
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
	return firstOf(why)
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
	for field, differs := range map[string]bool{
		"prefix":   old.Prefix != new.Prefix,
		"location": old.Location != new.Location,
		"blocked":  old.Blocked != new.Blocked,
		"insecure": old.Insecure != new.Insecure,
	} {
		if differs {
			why = append(why, fmt.Sprintf("%s of registry %s changed", field, name))
		}
	}
	slices.Sort(why)
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
		case known && m.Pull != before.Pull && m.Pull != digestOnly:
			why = append(why, fmt.Sprintf("mirror %s of %s changed what it is asked for", m.Location, name))
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

// firstOf keeps a cause to one line.
func firstOf(why []string) string {
	switch len(why) {
	case 0:
		return ""
	case 1:
		return why[0]
	}
	return fmt.Sprintf("%s (and %d more)", why[0], len(why)-1)
}
