package impact

import (
	"math/rand"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/machine"
)

func TestGlobs(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no string // separated by blanks
	}{
		{"/etc/*", "/etc/a /etc/.a /etc/", "/etc /etc/a/b /etcx/a"},
		{"/etc/a*", "/etc/a /etc/ab", "/etc/b /etc/a/b"},
		{"/etc/*.conf", "/etc/a.conf /etc/.conf /etc/a.b.conf", "/etc/a.confx /etc/a/b.conf"},
		{"/etc/?.conf", "/etc/a.conf /etc/ä.conf", "/etc/.conf /etc/ab.conf /etc//.conf"},
		{"/etc/**", "/etc /etc/a /etc/a/b", "/etcx /et"},
		{"/etc/**/x", "/etc/x /etc/a/x /etc/a/b/x", "/etc/x/y /etc/ax /x"},
		{"/**/x/**/y", "/x/y /a/x/b/c/y /x/x/y", "/y/x /x"},
		{"/etc/*/x", "/etc/a/x", "/etc/x /etc/a/b/x"},
		{"/etc/[ab]", "", "/etc/a"}, // brackets are no more than themselves, and then it is no glob
		{"/etc/[ab]*", "/etc/[ab] /etc/[ab]c", "/etc/a"},
	} {
		rule := []Rule{{Path: tt.pattern, Own: true, Actions: does(Nothing, "")}}
		for _, p := range strings.Fields(tt.yes) {
			if forPath(rule, p).Path == "" {
				t.Errorf("%s is not for %s", tt.pattern, p)
			}
		}
		for _, p := range strings.Fields(tt.no) {
			if forPath(rule, p).Path != "" {
				t.Errorf("%s is for %s", tt.pattern, p)
			}
		}
	}
	// A hostile glob would not come to an end if every way to match it were tried.
	hostile := []Rule{{Path: strings.Repeat("/**/a", 200) + "/b*", Own: true}}
	if forPath(hostile, strings.Repeat("/a", 1000)).Path != "" {
		t.Error("a path without b was matched")
	}
}

// A regular expression that says the same agrees, on anything.
func TestGlobsAgainstRegularExpressions(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	word := func(alphabet string, most int) string {
		out := "/"
		for range r.Intn(most) {
			out += string(alphabet[r.Intn(len(alphabet))])
		}
		return out
	}
	matched := 0
	for range 50_000 {
		pattern, path := word("/a.*?*", 8), word("/ab.", 8)
		want := regexp.MustCompile(expression(pattern)).MatchString(path)
		if got := matchPath(pattern, path); got != want {
			t.Fatalf("%q against %q: %v, want %v", pattern, path, got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 500 {
		t.Errorf("only %d matched at all", matched)
	}
}

func expression(pattern string) string {
	out := "^"
	for _, part := range strings.Split(pattern, "/")[1:] {
		if part == "**" {
			out += "(/[^/]*)*"
			continue
		}
		out += "/" + strings.NewReplacer(`\*`, "[^/]*", `\?`, "[^/]").Replace(regexp.QuoteMeta(part))
	}
	return out + "$"
}

// Only a RolloutPolicy has globs: to MCO a star is a part of the name.
func TestGlobsAreOfOwnRulesOnly(t *testing.T) {
	for _, r := range []Rule{{Path: "/etc/*", Actions: does(Nothing, "")}, {Unit: "*.service", Actions: does(Nothing, "")}} {
		if got := Worst(Diff(machine.Config{}, machine.Config{Files: has("/etc/a").Files, Units: []machine.Unit{{Name: "a.service"}}}, []Rule{r})); got != Reboot {
			t.Errorf("%+v: %v", r, got)
		}
	}
}

func TestTheClosestRuleWins(t *testing.T) {
	path := func(p, unit string) Rule { return Rule{Path: p, Actions: does(Restart, unit)} }
	own := func(p, unit string) Rule { return Rule{Path: p, Own: true, Actions: does(Restart, unit)} }
	for _, tt := range []struct {
		name  string
		rules []Rule
		want  string
	}{
		{"an exact path beats a glob with as long a beginning", []Rule{own("/etc/a/b.conf", "x"), own("/etc/a/b.conf*", "y")}, "x"},
		{"a glob beats a directory, however deep", []Rule{own("/e*/**", "x"), own("/etc/a", "y")}, "x"},
		{"the longer literal beginning of two globs", []Rule{own("/etc/a/*", "x"), own("/etc/*/b.conf", "y")}, "x"},
		{"the later of two globs with as long a beginning", []Rule{own("/etc/a/*.conf", "x"), own("/etc/a/?.conf", "y")}, "y"},
		{"the deeper directory", []Rule{own("/etc/a", "x"), own("/etc", "y")}, "x"},
		{"a directory of the pool's policy beats an exact path of the fleet", []Rule{own("/etc", "x"), path("/etc/a/b.conf", "y")}, "x"},
		{"what the pool's policy does not match is left to the fleet", []Rule{own("/etc/a/*.d", "x"), path("/etc/a", "y")}, "y"},
		{"the longest path of the fleet, as in MCO", []Rule{path("/etc/a/b.conf", "x"), path("/etc/a", "y")}, "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Diff(machine.Config{}, has("/etc/a/b.conf"), append(Defaults(), tt.rules...))
			if len(got) != 1 || got[0].Unit != tt.want {
				t.Errorf("%v, want a restart of %s", got, tt.want)
			}
		})
	}
}

func TestUnitRules(t *testing.T) {
	rules := []Rule{
		{Unit: "app-a.service", Actions: does(Restart, "fleet")},
		{Unit: "app-*.service", Own: true, Actions: does(Restart, "short")},
		{Unit: "app-b*.service", Own: true, Actions: does(Restart, "long")},
		{Unit: "app-bb.service", Own: true, Actions: does(Restart, "exact")},
	}
	for unit, want := range map[string]string{
		"app-a.service": "short", "app-c.service": "short", "app-b1.service": "long", "app-bb.service": "exact", "app-b.socket": "", "app.service": "",
	} {
		got := Diff(machine.Config{}, machine.Config{Units: []machine.Unit{{Name: unit, DropIns: []machine.DropIn{{Name: "1.conf"}}}}}, rules)
		if len(got) != 1 || got[0].Unit != want || (want == "") != (got[0].Kind == Reboot) {
			t.Errorf("%s: %v, want %q", unit, got, want)
		}
	}
}

func TestIsUnit(t *testing.T) {
	for name, want := range map[string]bool{
		"crio.service": true, "getty@tty1.service": true, `dev-disk-by\x2dlabel.swap`: true, "a:b_c.timer": true,
		"crio": false, ".service": false, "crio.servic": false, "a b.service": false, "a/b.service": false, "a.service\n": false,
		"k3s.service or k3s-agent.service": false, "ä.service": false, "": false,
		strings.Repeat("a", 247) + ".service": true, strings.Repeat("a", 248) + ".service": false,
	} {
		if got := IsUnit(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
