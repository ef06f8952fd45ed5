package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/sluice-gitops/sluice/policy/facts"
	"github.com/sluice-gitops/sluice/source/git"
)

// TestSignedCommits has git itself sign with a key of OpenSSH, and puts an OpenPGP signature into a
// commit as git does; what the repository then holds is read and checked.
func TestSignedCommits(t *testing.T) {
	for _, tool := range []string{"git", "ssh-keygen"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("skipped: there is no ", tool, " on this machine")
		}
	}
	dir, keys := t.TempDir(), t.TempDir()
	run := func(stdin, name string, args ...string) string {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir, c.Stdin = dir, strings.NewReader(stdin)
		c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, stderr.String())
		}
		return strings.TrimSuffix(string(out), "\n")
	}
	file := filepath.Join(keys, "id")
	run("", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file)
	line, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	run("", "git", "init", "--quiet", "--initial-branch=main")
	commit := func(args ...string) string {
		run("", "git", append([]string{"-c", "gpg.format=ssh", "-c", "user.signingKey=" + file, "commit", "--quiet", "--allow-empty", "--message=a change\n\nof two lines"}, args...)...)
		return run("", "git", "rev-parse", "HEAD")
	}
	plain, byRobot := commit(), commit("--gpg-sign")
	ada, err := openpgp.NewEntity("ada", "", "ada@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := run("", "git", "cat-file", "commit", plain) + "\n"
	var signature bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&signature, ada, strings.NewReader(raw), nil); err != nil {
		t.Fatal(err)
	}
	head, message, _ := strings.Cut(raw, "\n\n")
	header := "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(signature.String()), "\n", "\n ") + "\n\n"
	byAda := run(head+header+message, "git", "hash-object", "-t", "commit", "-w", "--stdin")
	forged := run(head+header+"another "+message, "git", "hash-object", "-t", "commit", "-w", "--stdin")

	var trusted bytes.Buffer
	w, err := armor.Encode(&trusted, openpgp.PublicKeyType, nil)
	if err == nil {
		err = ada.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	trusted.WriteString("\nrobot@example.com " + string(line))
	k, err := facts.ParseKeys(trusted.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	repo, err := git.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ commit, by, why string }{
		"signed by git with a key of SSH": {byRobot, "robot@example.com (SSH SHA256:", ""},
		"signed with OpenPGP":             {byAda, "ada <ada@example.com> (OpenPGP ", ""},
		"signed, and changed afterwards":  {forged, "", "does not hold"},
		"not signed":                      {plain, "", "not signed"},
	} {
		payload, armored, err := repo.Signed(c.commit)
		if err != nil {
			t.Fatal(err)
		}
		got := k.Check(payload, armored, time.Now().Add(time.Second))
		if !strings.HasPrefix(got.By, c.by) || (c.by == "") != (got.By == "") || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %+v, want by %q, why %q", what, got, c.by, c.why)
		}
	}
}
