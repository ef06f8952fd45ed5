package impact

import (
	"fmt"
	"slices"
	"strings"
)

// RulesChanged says in which rules one set differs from another, each in one line, sorted: what a
// reviewer must know of a change that brings its own rules. Nil rules are Defaults().
func RulesChanged(before, after []Rule) []string {
	if before == nil {
		before = Defaults()
	}
	if after == nil {
		after = Defaults()
	}
	var out []string
	for _, r := range after {
		was, had := find(before, r)
		switch {
		case !had:
			out = append(out, fmt.Sprintf("%s: %s (new)", r.subject(), r.words()))
		case was.words() != r.words():
			out = append(out, fmt.Sprintf("%s: %s (was %s)", r.subject(), r.words(), was.words()))
		}
	}
	for _, r := range before {
		if _, has := find(after, r); !has {
			out = append(out, fmt.Sprintf("%s: no rule of its own any more (was %s)", r.subject(), r.words()))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// find is the last rule about the same thing: it is the one that holds.
func find(rules []Rule, like Rule) (last Rule, ok bool) {
	for _, r := range rules {
		if same(r, like) {
			last, ok = r, true
		}
	}
	return last, ok
}

func (r Rule) subject() string {
	if r.SSHKey {
		return "ssh keys"
	}
	return r.Path + r.Unit
}

// words are what the rule asks for, as people read it.
func (r Rule) words() string {
	var out []string
	for _, a := range r.Actions {
		word := a.Kind.String()
		switch {
		case a.Kind == Reload && a.Unit == "":
			word = "daemon-reload"
		case a.Unit != "":
			word += " " + a.Unit
		}
		out = append(out, word)
	}
	switch {
	case len(out) == 0:
		return Reboot.String()
	case r.Mirrors:
		out = append(out, "drain if pulls could break")
	case r.Kubelet:
		out = append(out, "reboot if a restart is not enough")
	}
	return strings.Join(out, ", ")
}
