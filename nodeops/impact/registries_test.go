package impact

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/machine"
)

const registriesPath = "/etc/containers/registries.conf"

func TestRegistriesDrain(t *testing.T) {
	const (
		search = "unqualified-search-registries = ['a.example', 'b.example']\n"
		plain  = "[[registry]]\nprefix = 'r.example'\nlocation = 'r.example/x'\n"
		m1     = "[[registry.mirror]]\nlocation = 'm1'\npull-from-mirror = 'digest-only'\n"
		m2     = "[[registry.mirror]]\nlocation = 'm2'\npull-from-mirror = 'digest-only'\n"
		tags   = "[[registry.mirror]]\nlocation = 'm3'\npull-from-mirror = 'tag-only'\n"
		any3   = "[[registry.mirror]]\nlocation = 'm3'\n"
		strict = "[[registry]]\nlocation = 's.example'\nmirror-by-digest-only = true\n"
	)
	for _, tt := range []struct {
		name, old, new string
		why            string // of the drain, one reason a line; "" when it is safe
	}{
		{"a search registry is appended", search, strings.Replace(search, "]", ", 'c.example']", 1), ""},
		{"a search registry is put first", search, strings.Replace(search, "[", "['c.example', ", 1), "search registry a.example is no longer number 1 of the list"},
		{"a search registry goes", search, "unqualified-search-registries = ['a.example']\n", "search registry b.example removed"},
		{"a registry goes", plain + m1, "", "registry r.example removed"},
		{"the location changes", plain, strings.Replace(plain, "/x", "/y", 1), `location of registry r.example changed from "r.example/x" to "r.example/y"`},
		{"the prefix goes, the key stays", "[[registry]]\nprefix='r'\nlocation='r'\n", "[[registry]]\nlocation='r'\n", `prefix of registry r changed from "r" to ""`},
		{"blocked", plain, plain + "blocked = true\n", "blocked of registry r.example changed from false to true"},
		{"insecure and blocked", plain, plain + "insecure = true\nblocked = true\n", "blocked of registry r.example changed from false to true\ninsecure of registry r.example changed from false to true"},
		{"a mirror goes", plain + m1 + m2, plain + m1, "mirror m2 removed from r.example"},
		{"mirrors in another order", plain + m1 + m2, plain + m2 + m1, ""},
		{"a mirror becomes insecure", plain + m1, plain + m1 + "insecure = true\n", ""},
		{"a mirror for digests comes", plain + m1, plain + m1 + m2, ""},
		{"a mirror for tags comes", plain + m1, plain + m1 + tags, "new mirror m3 of r.example is not for digests only"},
		{"a mirror for anything comes", plain + m1, plain + m1 + any3, "new mirror m3 of r.example is not for digests only"},
		{"a mirror for anything comes to a registry for digests", strict + m1, strict + m1 + any3, ""},
		{"a mirror turns to digests", plain + tags, plain + strings.Replace(tags, "tag-only", "digest-only", 1), ""},
		{"a mirror turns from digests", plain + m1, plain + strings.Replace(m1, "digest-only", "all", 1), "mirror m1 of r.example is asked for all, and was for digest-only"},
		{"a mirror says that it is asked for all, as before", plain + any3, plain + any3 + "pull-from-mirror = 'all'\n", ""},
		{"a mirror is listed for tags, too", plain + m1, plain + strings.Replace(m1, "digest-only", "tag-only", 1) + m1, "mirror m1 of r.example is asked for tag-only, and was for digest-only"},
		{"only the flag of the registry changes", "[[registry]]\nlocation = 's.example'\n", strict, ""},
		{"a registry for digests comes", "", strict, ""},
		{"a registry without mirrors comes", "", plain, "new registry r.example is not for digests only"},
		{"a registry with mirrors for digests comes", "", plain + m1 + m2, ""},
		{"a registry with a mirror for tags comes", "", plain + m1 + tags, "mirror m3 of new registry r.example is not for digests only"},
		{"the flag does not speak for a new registry's mirrors", "", strict + any3, "mirror m3 of new registry s.example is not for digests only"},
		{"aliases and the like", "short-name-mode = 'enforcing'\n", "credential-helpers = ['x']\n[aliases]\na = 'b.example/a'\n", ""},
		{"the old format", "[registries.search]\nregistries = ['a']\n", "", "the old file cannot be read: it is in the first format ([registries.*]); write [[registry]]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "reload crio.service < " + registriesPath
			for _, why := range slices.Backward(strings.Split(tt.why, "\n")) {
				if why != "" {
					want = "drain < " + registriesPath + ": " + why + "\n" + want
				}
			}
			if diff := cmp.Diff(want, lines(Diff(registries(tt.old), registries(tt.new), nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A whole list that goes is told by its first registries, and how many more there are.
func TestManyReasonsAreShortened(t *testing.T) {
	body := ""
	for i := range 100 {
		body += fmt.Sprintf("[[registry]]\nlocation = 'r%02d'\n", i)
	}
	got := strings.Split(lines(Diff(registries(body), machine.Config{}, nil)), "\n")
	if len(got) != mostReasons+2 || !strings.HasSuffix(got[mostReasons-1], "registry r19 removed") || got[mostReasons] != "drain < "+registriesPath+": there are 80 more such changes" {
		t.Errorf("%d lines:\n%s", len(got), strings.Join(got, "\n"))
	}
}

func registries(body string) machine.Config {
	return machine.Config{Files: []machine.File{{Path: registriesPath, Contents: []byte(body)}}}
}

func TestRegistriesAsAWhole(t *testing.T) {
	full := registries("[[registry]]\nlocation = 'r'\n")
	for _, tt := range []struct {
		name     string
		old, new machine.Config
		want     Kind
	}{
		{"an empty file comes", machine.Config{}, registries(""), Reload},
		{"a file with a registry for anything comes", machine.Config{}, full, Drain},
		{"a file with a registry goes", full, machine.Config{}, Drain},
		{"a file that is no TOML", full, registries("[[registry"), Drain},
		{"a field of another type", full, registries("unqualified-search-registries = 'a'"), Drain},
		{"only the mode changes", full, machine.Config{Files: []machine.File{{Path: registriesPath, Mode: 0o600, Contents: full.Files[0].Contents}}}, Reload},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Worst(Diff(tt.old, tt.new, nil)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzRegistries(f *testing.F) {
	f.Add("[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='m'\n", "[[registry]]\nprefix='a'\n")
	f.Add("registries = 1", "[aliases]\n")
	f.Fuzz(func(t *testing.T, old, new string) {
		if why := strings.Join(unsafeMirrors([]byte(old), []byte(old)), "; "); why != "" && !strings.Contains(why, "cannot be read") &&
			strings.Count(old, "location") < 2 { // a location that stands twice may differ from itself
			t.Errorf("a file against itself drains: %s", why)
		}
		if a, b := unsafeMirrors([]byte(old), []byte(new)), unsafeMirrors([]byte(old), []byte(new)); !slices.Equal(a, b) {
			t.Errorf("%q, then %q", a, b)
		}
	})
}
