package impact

import (
	"slices"
	"strings"
)

// How closely a rule fits. A rule of the pool's own policy comes before all others. Among those,
// an exact name beats a glob, and a glob a directory; then the longer literal beginning wins. Of
// all other rules the longest path wins, as in MCO main.
const (
	fitsDir   = 0
	fitsGlob  = 1 << 20 // no path is as long
	fitsExact = 2 << 20
	fitsOwn   = 4 << 20
)

// forPath finds the rule of a file. The zero Rule stands for none.
func forPath(rules []Rule, path string) Rule {
	return closest(rules, func(r Rule) int {
		own := strings.TrimRight(r.Path, "/")
		switch {
		case r.Path == "":
			return -1
		case r.Own && IsGlob(r.Path):
			return globFit(r.Path, path, matchPath)
		case path == own && r.Own:
			return fitsOwn + fitsExact
		case path != own && !strings.HasPrefix(path, own+"/"):
			return -1
		case r.Own:
			return fitsOwn + fitsDir + len(own)
		}
		return len(own)
	})
}

func forUnit(rules []Rule, name string) Rule {
	return closest(rules, func(r Rule) int {
		switch {
		case r.Unit == "":
			return -1
		case r.Own && IsGlob(r.Unit):
			return globFit(r.Unit, name, matchName)
		case r.Unit != name:
			return -1
		case r.Own:
			return fitsOwn + fitsExact
		}
		return 0
	})
}

func forSSHKey(rules []Rule) Rule {
	return closest(rules, func(r Rule) int {
		if r.SSHKey {
			return 0
		}
		return -1
	})
}

// closest is the rule that fits best, the last of several; those that do not fit are below 0.
func closest(rules []Rule, fit func(Rule) int) (best Rule) {
	most := 0
	for _, r := range rules {
		if f := fit(r); f >= most {
			best, most = r, f
		}
	}
	return best
}

func globFit(pattern, name string, matches func(pattern, name string) bool) int {
	literal := strings.IndexAny(pattern, wild)
	begin := strings.TrimRight(pattern[:literal], "/") // "/a/**" is for "/a", too
	if !strings.HasPrefix(name, begin) || !matches(pattern, name) {
		return -1
	}
	return fitsOwn + fitsGlob + literal
}

const wild = "*?"

// IsGlob says whether a pattern is more than a name. In a glob * stands for any number of
// characters but "/", ? for one that is not "/", and ** between slashes for any number of folders,
// none included; at its end that is the folder itself and all below. Nothing else is special.
func IsGlob(pattern string) bool { return strings.ContainsAny(pattern, wild) }

func matchPath(pattern, path string) bool {
	return match(strings.Split(pattern, "/"), strings.Split(path, "/"), func(p string) bool { return p == "**" }, matchName)
}

func matchName(pattern, name string) bool {
	return match([]rune(pattern), []rune(name), func(p rune) bool { return p == '*' },
		func(p, r rune) bool { return p == r || p == '?' })
}

// match holds a list against a pattern, in which some elements stand for many and every other for
// one. It takes no longer than the product of both lengths.
func match[P, S any](pattern []P, list []S, many func(P) bool, one func(P, S) bool) bool {
	p, s := 0, 0
	star, from := -1, 0 // the last that stands for many, and where what follows it was tried last
	for s < len(list) {
		switch {
		case p < len(pattern) && many(pattern[p]):
			star, from = p, s
			p++
		case p < len(pattern) && one(pattern[p], list[s]):
			p, s = p+1, s+1
		case star >= 0:
			from++
			p, s = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && many(pattern[p]) {
		p++
	}
	return p == len(pattern)
}

// unitTypes are the endings of units, as MCO's API knows them.
var unitTypes = []string{
	".automount", ".device", ".mount", ".path", ".scope", ".service", ".slice", ".snapshot", ".socket", ".swap", ".target", ".timer",
}

// IsUnit says whether systemd could know a unit of that name.
func IsUnit(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	return dot > 0 && len(name) <= 255 && slices.Contains(unitTypes, name[dot:]) &&
		!strings.ContainsFunc(name, func(r rune) bool {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
			return !letter && !strings.ContainsRune(`:-_.\@`, r)
		})
}
