package impact

import (
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
)

// Without is the new config with one cause of its impact taken back to the old: a file's path, a
// unit's name, or a field, as Diff names them.
func Without(old, new machine.Config, cause string) machine.Config {
	switch cause {
	case "kernelArguments":
		new.KernelArgs = old.KernelArgs
	case "osImageURL":
		new.OSImage = old.OSImage
	case "extensions":
		new.Extensions = old.Extensions
	case "baseOSExtensionsContainerImage":
		new.ExtensionsImage = old.ExtensionsImage
	case "kernelType":
		new.KernelType = old.KernelType
	case "fips":
		new.FIPS = old.FIPS
	default:
		path := Thing(cause)
		new.Files = back(old.Files, new.Files, func(f machine.File) bool { return f.Path == path })
		new.Units = back(old.Units, new.Units, func(u machine.Unit) bool { return u.Name == path })
		new.FirstBoot = back(old.FirstBoot, new.FirstBoot, func(s machine.Section) bool { return s.Name == path })
		if name, ok := strings.CutPrefix(path, "passwd.users["); ok {
			name, _, _ = strings.Cut(name, "]")
			new.Users = back(old.Users, new.Users, func(u machine.User) bool { return u.Name == name })
		}
	}
	return new
}

// Thing is what a cause is about: a path, a unit's name or a field. What decides by a file's
// contents goes on with its reason behind a colon.
func Thing(cause string) string {
	what, _, _ := strings.Cut(cause, ": ")
	return what
}

// back replaces the elements that match by those of the old list that do.
func back[T any](old, new []T, match func(T) bool) []T {
	out := slices.DeleteFunc(slices.Clone(new), match)
	for _, t := range old {
		if match(t) {
			out = append(out, t)
		}
	}
	return out
}

// Cheaper is what a change would cost without everything that brings it its worst kind, and what
// that is. It is empty when that is all there is.
type Cheaper struct {
	Without []string `json:"without"` // causes
	Kind    Kind     `json:"kind"`
}

// FindCheaper says how a change could be split: what makes it as bad as it is, and what the rest
// alone would be. False when the rest is nothing, or no better.
func FindCheaper(old, new machine.Config, rules []Rule) (Cheaper, bool) {
	all := Diff(old, new, rules)
	worst := Worst(all)
	if worst <= Reload {
		return Cheaper{}, false
	}
	var c Cheaper
	rest := new
	for _, a := range all {
		if what := Thing(a.Cause); a.Kind == worst && !slices.Contains(c.Without, what) {
			c.Without = append(c.Without, what)
			rest = Without(old, rest, what)
		}
	}
	left := Diff(old, rest, rules)
	c.Kind = Worst(left)
	return c, len(left) > 0 && c.Kind < worst
}
