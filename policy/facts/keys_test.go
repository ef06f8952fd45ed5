package facts

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
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// person is an OpenPGP key, which may end.
func person(t *testing.T, name string, life time.Duration) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity(name, "", name+"@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return born }, KeyLifetimeSecs: uint32(life.Seconds()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func public(t *testing.T, e *openpgp.Entity) string {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
	if err == nil {
		err = e.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

func sign(t *testing.T, e *openpgp.Entity, payload string) string {
	t.Helper()
	var out bytes.Buffer
	err := openpgp.ArmoredDetachSign(&out, e, strings.NewReader(payload), &packet.Config{Time: func() time.Time { return born.Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// sshKey makes a key with OpenSSH and returns its file and its public line.
func sshKey(t *testing.T, name string) (file, line string) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("skipped: there is no ssh-keygen on this machine")
	}
	file = filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(data))
}

func sshSign(t *testing.T, file, space, payload string) string {
	t.Helper()
	c := exec.Command("ssh-keygen", "-Y", "sign", "-q", "-f", file, "-n", space)
	c.Stdin = strings.NewReader(payload)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestASignatureProvesWhatATrustedKeySigned(t *testing.T) {
	const payload = "tree 1\n\nsubject\n"
	ada, eve, old := person(t, "ada", 0), person(t, "eve", 0), person(t, "old", 24*time.Hour)
	bobFile, bob := sshKey(t, "bob")
	malFile, _ := sshKey(t, "mal")
	keys, err := ParseKeys([]byte("# who may\n" + public(t, ada) + "bob@example.com,rob@example.com namespaces=\"git\" " + bob + "\n" + public(t, old)))
	if err != nil {
		t.Fatal(err)
	}
	later := born.Add(30 * 24 * time.Hour)
	for _, c := range []struct {
		name, payload, signature string
		now                      time.Time
		by, why                  string
	}{
		{"OpenPGP", payload, sign(t, ada, payload), later, "ada <ada@example.com> (OpenPGP ", ""},
		{"OpenPGP, of other bytes", payload + "x", sign(t, ada, payload), later, "", "does not hold"},
		{"OpenPGP, of a stranger", payload, sign(t, eve, payload), later, "", "not among the trusted"},
		{"OpenPGP, of a key that is valid", payload, sign(t, old, payload), born.Add(2 * time.Hour), "old", ""},
		{"OpenPGP, of a key whose time is over", payload, sign(t, old, payload), later, "", "expired"},
		{"SSH", payload, sshSign(t, bobFile, "git", payload), later, "bob@example.com,rob@example.com (SSH SHA256:", ""},
		{"SSH, of other bytes", payload + "x", sshSign(t, bobFile, "git", payload), later, "", "does not hold"},
		{"SSH, signed for something else than Git", payload, sshSign(t, bobFile, "file", payload), later, "", "does not hold"},
		{"SSH, of a stranger", payload, sshSign(t, malFile, "git", payload), later, "", "not among the trusted"},
		{"none", payload, "", later, "", "not signed"},
		{"two at once", payload, sign(t, eve, payload) + sign(t, ada, payload), later, "", "several"},
		{"X.509", payload, "-----BEGIN SIGNED MESSAGE-----\n", later, "", "neither of OpenPGP nor of SSH"},
		{"SSH, cut off", payload, "-----BEGIN SSH SIGNATURE-----\nAAAA\n", later, "", "cannot be read"},
		{"OpenPGP, cut off", payload, "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n", later, "", "does not hold"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := keys.Check([]byte(c.payload), c.signature, c.now)
			if !strings.HasPrefix(got.By, c.by) || (got.By == "") != (c.by == "") || !strings.Contains(got.Why, c.why) || (got.Why == "") != (c.why == "") {
				t.Errorf("%+v, want by %q, why %q", got, c.by, c.why)
			}
		})
	}
}

func TestAFileOfKeysIsReadWholeOrNotAtAll(t *testing.T) {
	_, bob := sshKey(t, "bob")
	for _, c := range []struct{ name, text, says string }{
		{"nothing", "\n# nobody yet\n", "no key"},
		{"a line that is no key", "bob@example.com " + bob + "\nmal@example.com ssh-ed25519\n", "line 2"},
		{"a key without a name", bob, "line 1"},
		{"a key that signs others", `* cert-authority ` + bob, "cert-authority"},
		{"a key with an end", `bob valid-before="20270101" ` + bob, "valid-before"},
		{"a key for other things", `bob namespaces="file" ` + bob, "namespaces"},
		{"a block that is no key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n", "OpenPGP"},
		{"a line below a block keeps its number", public(t, person(t, "ada", 0)) + "oops\n", "line 1"},
	} {
		if _, err := ParseKeys([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}
