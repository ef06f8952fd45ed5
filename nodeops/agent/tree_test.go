package agent_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops/agent"
)

var update = flag.Bool("update", false, "write what was got as what is wanted")

// A script in testdata holds config.json, any file that the OS ships below os/, and want: the
// tree, a line for each path, or the reasons for which there is none.
func TestTreeOf(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(script)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]string{}
			for _, f := range archive.Files {
				files[f.Name] = string(f.Data)
			}
			var c machine.Config
			if err := json.Unmarshal([]byte(files["config.json"]), &c); err != nil {
				t.Fatal(err)
			}
			got := render(agent.TreeOf(c, facts(files)))
			if got == files["want"] {
				return
			}
			if !*update {
				t.Fatalf("got:\n%swant:\n%s", got, files["want"])
			}
			archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want" })
			archive.Files = append(archive.Files, txtar.File{Name: "want", Data: []byte(got)})
			if err := os.WriteFile(script, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func facts(files map[string]string) (f agent.Facts) {
	if passwd, ok := files["os/etc/passwd"]; ok {
		f.Users, f.Groups = agent.ReadAccounts(passwd, files["os/etc/group"])
	}
	f.Unit = func(name string) (string, string) {
		text, ok := files["os/usr/lib/systemd/system/"+name]
		if !ok {
			return "", ""
		}
		return "/usr/lib/systemd/system/" + name, text
	}
	return f
}

func render(t agent.Tree, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	var out strings.Builder
	for _, p := range slices.Sorted(maps.Keys(t)) {
		e := t[p]
		fmt.Fprint(&out, p, " ", e.Kind)
		switch e.Kind {
		case agent.Symlink:
			fmt.Fprint(&out, " -> ", e.Target)
		case agent.Regular, agent.Dir:
			fmt.Fprintf(&out, " %04o %d:%d", e.Mode, e.UID, e.GID)
			if e.Kind == agent.Regular {
				fmt.Fprintf(&out, " %q", e.Data)
			}
		}
		fmt.Fprintln(&out)
	}
	return out.String()
}

func TestDrift(t *testing.T) {
	file := agent.Entry{Kind: agent.Regular, Mode: 0o644, Data: []byte("secret")}
	link := agent.Entry{Kind: agent.Symlink, Target: "/lib/u.service", Enables: "u.service"}
	absent := agent.Entry{Kind: agent.Absent}
	with := func(e agent.Entry, f func(*agent.Entry)) agent.Entry { f(&e); return e }
	for _, row := range []struct {
		name       string
		want, have agent.Entry
		drift      string // path and kind
	}{
		{"the same", file, file, ""},
		{"other contents", file, with(file, func(e *agent.Entry) { e.Data = []byte("secreT") }), "/p content"},
		{"other mode", file, with(file, func(e *agent.Entry) { e.Mode = 0o600 }), "/p mode"},
		{"other owner", file, with(file, func(e *agent.Entry) { e.UID = 7 }), "/p owner"},
		{"other group", file, with(file, func(e *agent.Entry) { e.GID = 7 }), "/p owner"},
		{"an owner that cannot be seen", file, with(file, func(e *agent.Entry) { e.UID, e.GID = agent.Anyone, agent.Anyone }), ""},
		{"deleted", file, absent, "/p missing"},
		{"a directory in its place", file, agent.Entry{Kind: agent.Dir}, "/p type"},
		{"a symlink in its place", file, agent.Entry{Kind: agent.Symlink, Target: "/same"}, "/p type"},
		{"a path that leads out of the root", file, agent.Entry{Kind: agent.Other}, "/p type"},
		{"a unit's file", with(file, func(e *agent.Entry) { e.Unit = "u.service" }), absent, "/p unit"},
		{"a unit that is not enabled any more", link, absent, "u.service enablement"},
		{"a unit that is enabled again", with(absent, func(e *agent.Entry) { e.Enables = "u.service" }), link, "u.service enablement"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := ""
			for _, d := range agent.Drift(agent.Tree{"/p": row.want}, agent.Tree{"/p": row.have}) {
				got = d.Path + " " + string(d.Kind)
				if d.Why == "" || strings.Contains(strings.ToLower(d.Why), "secret") {
					t.Errorf("why is %q", d.Why)
				}
			}
			if got != row.drift {
				t.Errorf("got %q, want %q", got, row.drift)
			}
		})
	}
}

// Nothing but what Seal wrote is believed.
func FuzzUnseal(f *testing.F) {
	whole, err := agent.Seal(agent.Journal{Stage: agent.Writing, Current: "abc", Why: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{"format":2,"sha256":"","body":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var j agent.Journal
		if err := agent.Unseal(data, &j); err != nil {
			return
		}
		if again, err := agent.Seal(j); err != nil || len(again) == 0 {
			t.Errorf("what was unsealed cannot be sealed: %v", err)
		}
	})
}

func TestUnsealFindsEveryDamage(t *testing.T) {
	whole, err := agent.Seal(agent.Journal{Stage: agent.Writing, Current: "abc", Why: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var want agent.Journal
	if err := agent.Unseal(whole, &want); err != nil || want.Current != "abc" {
		t.Fatalf("%+v, %v", want, err)
	}
	for n := range whole {
		var j agent.Journal
		if agent.Unseal(whole[:n], &j) == nil {
			t.Errorf("cut at byte %d, it is believed", n)
		}
		for bit := range 8 {
			bad := slices.Clone(whole)
			bad[n] ^= 1 << bit
			var j agent.Journal
			if err := agent.Unseal(bad, &j); err == nil && fmt.Sprint(j) != fmt.Sprint(want) {
				t.Errorf("with bit %d of byte %d flipped, it is believed as %+v", bit, n, j)
			}
		}
	}
}
