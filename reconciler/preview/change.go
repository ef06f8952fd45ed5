package preview

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/render"
)

// Change is one thing of a pool's config that a proposal adds, changes or removes.
type Change struct {
	Name string `json:"name"`           // a file's path, a unit or drop-in, or a field
	How  string `json:"how"`            // added, changed or removed
	File string `json:"file,omitempty"` // of the repository, that brought it
	Diff string `json:"diff,omitempty"` // unified; what may be secret is shown as size and hash
}

// piece is a thing of a config as text.
type piece struct {
	text   []byte
	secret bool
}

// changes lists what differs between two pools, by name.
func changes(before, after render.Pool) []Change {
	old, now := pieces(before.Config), pieces(after.Config)
	names := slices.Sorted(maps.Keys(old))
	for name := range now {
		if _, ok := old[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := []Change{}
	for _, name := range names {
		a, was := old[name]
		b, is := now[name]
		if was && is && bytes.Equal(a.text, b.text) {
			continue
		}
		c := Change{Name: name, How: "changed", File: origin(after, name)}
		switch {
		case !was:
			c.How = "added"
		case !is:
			c.How, c.File = "removed", origin(before, name)
		}
		c.Diff = unified(name, a, b)
		out = append(out, c)
	}
	return out
}

// origin is the file of the repository behind a piece; a drop-in comes with its unit.
func origin(p render.Pool, name string) string {
	if file, ok := p.Origins[name]; ok {
		return file
	}
	unit, _, _ := strings.Cut(name, "/")
	name, _, _ = strings.Cut(name, ": ")
	if file, ok := p.Origins[name]; ok {
		return file
	}
	return p.Origins[unit]
}

// pieces takes a config apart into texts that people can compare.
func pieces(c machine.Config) map[string]piece {
	out := map[string]piece{}
	for _, f := range c.Files {
		head := fmt.Sprintf("# mode %#o", f.Mode)
		if f.User+f.Group != "" {
			head += fmt.Sprintf(", owner %s:%s", f.User, f.Group)
		}
		out[f.Path] = piece{append([]byte(head+"\n"), f.Contents...), f.Secret()}
	}
	for _, u := range c.Units {
		head := "# enablement: " + string(u.Enablement)
		if u.Enablement == machine.Preset {
			head = "# enablement: as preset"
		}
		if u.Mask {
			head += ", masked"
		}
		out[u.Name] = piece{[]byte(head + "\n" + u.Contents), machine.HoldsSecret([]byte(u.Contents))}
		for _, d := range u.DropIns {
			out[u.Name+"/"+d.Name] = piece{[]byte(d.Contents), machine.HoldsSecret([]byte(d.Contents))}
		}
	}
	for _, u := range c.Users {
		out["passwd.users["+u.Name+"].sshAuthorizedKeys"] = told(strings.Join(u.SSHKeys, "\n"))
		if u.PasswordHash != "" {
			out["passwd.users["+u.Name+"].passwordHash"] = piece{[]byte(u.PasswordHash), true}
		}
	}
	for _, s := range c.FirstBoot {
		out[s.Name] = piece{s.Body, slices.Contains(packed, s.Name) || machine.HoldsSecret(s.Body)}
	}
	for name, text := range map[string]string{
		"osImageURL": c.OSImage, "kernelType": c.KernelType,
		"extensions": strings.Join(c.Extensions, "\n"), "baseOSExtensionsContainerImage": c.ExtensionsImage,
	} {
		if text != "" {
			out[name] = told(text)
		}
	}
	if len(c.KernelArgs) > 0 {
		out["kernelArguments"] = piece{[]byte(kernelArgs(c.KernelArgs)), false} // each by itself
	}
	if c.FIPS {
		out["fips"] = piece{[]byte("true"), false}
	}
	return out
}

// kernelArgs are one a line, without the values that look like secrets.
func kernelArgs(args []string) string {
	out := make([]string, len(args))
	for i, arg := range args {
		name, value, valued := strings.Cut(arg, "=")
		switch {
		case valued && (secretArg.MatchString(name) || machine.HoldsSecret([]byte(arg))):
			arg = name + "=" + masked([]byte(value))
		case machine.HoldsSecret([]byte(arg)):
			arg = masked([]byte(arg))
		}
		out[i] = arg
	}
	return strings.Join(out, "\n")
}

// secretArg is the name of an argument whose value is hidden, as far as names tell.
var secretArg = regexp.MustCompile(`(?i)password|passwd|passphrase|secret|token|credential|(^|[._-])(key|apikey|psk|pass|pw|rootpw|auth)$`)

// packed are the sections of a first boot that hold data: URLs, headers or password hashes: what
// is in those cannot be told by looking.
var packed = []string{"ignition.config", "passwd.users", "passwd.groups", "storage.luks"}

// told is a text that is shown unless it looks like a secret.
func told(text string) piece { return piece{[]byte(text), machine.HoldsSecret([]byte(text))} }

// most bounds one diff: the whole is in Git, this is to recognise it.
const (
	mostLines = 80
	mostRunes = 8000
)

func unified(name string, a, b piece) string {
	if a.secret || b.secret {
		a.text, b.text = []byte(masked(a.text)), []byte(masked(b.text))
	}
	text := printableText(string(diff.Diff("a", ended(a.text), "b", ended(b.text))))
	if _, body, ok := strings.Cut(text, "+++ b\n"); ok {
		text = body
	}
	lines := strings.SplitAfter(text, "\n")
	if len(lines) > mostLines {
		text = strings.Join(lines[:mostLines], "") + fmt.Sprintf("... %d more lines of %s\n", len(lines)-mostLines, printable(name))
	}
	if utf8.RuneCountInString(text) > mostRunes {
		text = string([]rune(text)[:mostRunes]) + "\n... cut short\n"
	}
	return text
}

func masked(text []byte) string {
	if text == nil {
		return ""
	}
	return "(not shown: " + machine.Sum(text) + ")"
}

// ended makes the text end in a line end, so that the diff speaks of lines only.
func ended(text []byte) []byte {
	if len(text) > 0 && text[len(text)-1] != '\n' {
		return append(slices.Clone(text), '\n')
	}
	return text
}

// printableText is printable, line by line: tabs and line ends stay.
func printableText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
