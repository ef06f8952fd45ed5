package preview

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/render"
)

func TestChangesAreShownAndSecretsAreNot(t *testing.T) {
	with := func(path, text string, mode uint32) render.Pool {
		return pool("worker", "", machine.Config{Files: []machine.File{{Path: path, Mode: mode, Contents: []byte(text)}}})
	}
	config := func(c machine.Config) render.Pool { return pool("worker", "", c) }
	section := func(name, body string) render.Pool {
		return config(machine.Config{FirstBoot: []machine.Section{{Name: name, Body: []byte(body)}}})
	}
	for name, c := range map[string]struct {
		before, after render.Pool
		how           string
		shows, hides  string
	}{
		"a changed file":                 {with("/a", "one\n", 0o644), with("/a", "two\n", 0o644), "changed", "-one\n+two\n", ""},
		"a changed mode":                 {with("/a", "one\n", 0o644), with("/a", "one\n", 0o755), "changed", "-# mode 0644\n+# mode 0755\n", ""},
		"an added file":                  {pool("worker", "", machine.Config{}), with("/a", "two\n", 0o644), "added", "+two\n", ""},
		"a removed file":                 {with("/a", "one\n", 0o644), pool("worker", "", machine.Config{}), "removed", "-one\n", ""},
		"a file for its owner only":      {with("/a", "hunter1\n", 0o600), with("/a", "hunter2\n", 0o600), "changed", "(not shown: ", "hunter"},
		"a file that becomes readable":   {with("/a", "hunter1\n", 0o600), with("/a", "hunter1\n", 0o644), "changed", "(not shown: ", "hunter"},
		"a setting that is a password":   {with("/a", "x\n", 0o644), with("/a", "password=hunter2\n", 0o644), "changed", "(not shown: ", "hunter"},
		"a token among kernel arguments": {config(machine.Config{}), config(machine.Config{KernelArgs: []string{"quiet", "agent.token=hunter2"}}), "added", "(not shown: ", "hunter"},
		"a disk's key":                   {section("storage.luks", `[{"keyFile":{"source":"data:,hunter1"}}]`), section("storage.luks", `[{"keyFile":{"source":"data:,hunter2"}}]`), "changed", "(not shown: ", "hunter"},
		"another user's password":        {config(machine.Config{}), section("passwd.users", `[{"name":"bob","passwordHash":"hunter2"}]`), "added", "(not shown: ", "hunter"},
		"a config that is merged":        {config(machine.Config{}), section("ignition.config", `{"merge":[{"source":"data:,hunter2"}]}`), "added", "(not shown: ", "hunter"},
		"a private key among ssh keys":   {config(machine.Config{}), config(machine.Config{Users: []machine.User{{Name: "core", SSHKeys: []string{"-----BEGIN OPENSSH PRIVATE KEY-----hunter2"}}}}), "added", "(not shown: ", "hunter"},
		"a control that moves the text":  {with("/a", "x\n", 0o644), with("/a", "y\u202ez\x1b[2J\n", 0o644), "changed", "+y\uFFFDz\uFFFD[2J\n", "\x1b"},
	} {
		t.Run(name, func(t *testing.T) {
			got := changes(c.before, c.after)
			if len(got) != 1 || got[0].How != c.how || !strings.Contains(got[0].Diff, c.shows) {
				t.Fatalf("changes %+v, want %s with %q", got, c.how, c.shows)
			}
			text := Make(input(one(c.before), one(c.after))).Markdown()
			if c.hides != "" && strings.Contains(text, c.hides) {
				t.Errorf("the comment shows %q:\n%s", c.hides, text)
			}
		})
	}
}

func TestADiffCannotBreakOutOfItsFence(t *testing.T) {
	before := pool("worker", "", machine.Config{})
	after := pool("worker", "", machine.Config{Files: []machine.File{{Path: "/a", Mode: 0o644, Contents: []byte("```\n````\n</details> # loud\n")}}})
	text := Make(input(one(before), one(after))).Markdown()
	if !strings.Contains(text, "\n`````diff\n") || !strings.Contains(text, "\n`````\n") {
		t.Errorf("the fence is too short:\n%s", text)
	}
}

func TestALargeCommentKeepsItsVerdictAndTable(t *testing.T) {
	big := machine.Config{KernelArgs: []string{"x"}}
	for i := range 2000 {
		big.Files = append(big.Files, machine.File{Path: fmt.Sprintf("/etc/file-%d", i), Mode: 0o644, Contents: []byte(strings.Repeat("grüße\n", 50))})
	}
	text := Make(input(one(pool("worker", "10%", machine.Config{})), one(pool("worker", "10%", big)), fleet("worker", 5000)...)).Markdown()
	if n := utf8.RuneCountInString(text); n > 65000 {
		t.Errorf("the comment has %d runes", n)
	}
	if !strings.HasPrefix(text, "### Sluice: 5000 nodes reboot") || !strings.Contains(text, "| `worker` | 5000 |") || !strings.Contains(text, "not shown here") {
		t.Errorf("the comment lost what matters:\n%s", text[:500])
	}
	if strings.Count(text, "<details>") != strings.Count(text, "</details>") || strings.Count(text, "```")%2 != 0 {
		t.Error("the comment ends inside of something")
	}
}
