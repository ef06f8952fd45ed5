package machine

import (
	"strings"
	"testing"
)

func TestDigestIsOfTheContent(t *testing.T) {
	a := Config{
		Files: []File{{Path: "/b", Contents: []byte("2")}, {Path: "/a", Contents: []byte("1")}},
		Units: []Unit{{Name: "u", DropIns: []DropIn{{Name: "2.conf"}, {Name: "1.conf"}}}},
	}
	b := Config{
		Files: []File{{Path: "/a", Contents: []byte("1")}, {Path: "/b", Contents: []byte("2")}},
		Units: []Unit{{Name: "u", DropIns: []DropIn{{Name: "1.conf"}, {Name: "2.conf"}}}},
		Users: []User{},
	}
	if a.Digest() != b.Digest() {
		t.Error("the order of names makes another config")
	}
	if (Config{KernelArgs: []string{"a", "b"}}).Digest() == (Config{KernelArgs: []string{"b", "a"}}).Digest() {
		t.Error("the order of kernel arguments makes no other config")
	}
	if a.Files[0].Path != "/b" || a.Units[0].DropIns[0].Name != "2.conf" {
		t.Error("the digest has changed the config")
	}
	if len(a.Digest()) != 64 {
		t.Errorf("digest %q", a.Digest())
	}
}

func TestSecretsAreRecognised(t *testing.T) {
	for name, c := range map[string]struct {
		file File
		want bool
	}{
		"a plain file is shown":                     {File{Path: "/etc/chrony.conf", Mode: 0o644, Contents: []byte("server a iburst\n")}, false},
		"a script is shown":                         {File{Path: "/usr/local/bin/x", Mode: 0o755, Contents: []byte("#!/bin/sh\nexec y\n")}, false},
		"what only the owner may read is not":       {File{Path: "/etc/a", Mode: 0o600, Contents: []byte("a")}, true},
		"the pull secret is not":                    {File{Path: "/var/lib/kubelet/config.json", Mode: 0o644, Contents: []byte("{}")}, true},
		"a key by its name is not":                  {File{Path: "/etc/pki/tls/private/server.key", Mode: 0o644}, true},
		"a kubeconfig is not":                       {File{Path: "/etc/kubernetes/kubeconfig", Mode: 0o644}, true},
		"a private key by its head is not":          {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n")}, true},
		"a certificate is shown":                    {File{Path: "/etc/a.crt", Mode: 0o644, Contents: []byte("-----BEGIN CERTIFICATE-----\n")}, false},
		"a password in a setting is not":            {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("user=x\nPASSWORD = hunter2\n")}, true},
		"a registry login is not":                   {File{Path: "/etc/a", Mode: 0o644, Contents: []byte(`{"auths": {}}`)}, true},
		"a url with a password is not":              {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("proxy=http://me:pw@proxy:3128\n")}, true},
		"a password hash is not":                    {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("root:$6$saltsalt$abcdefghijkl:1\n")}, true},
		"bytes that are no text are not":            {File{Path: "/etc/a", Mode: 0o644, Contents: []byte{0xff, 0xfe}}, true},
		"a password in a unit's environment is not": {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("[Service]\nEnvironment=DB_PASS=hunter2\n")}, true},
		"a key packed into base64 is not":           {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("key: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0t\n")}, true},
		"a bearer is not":                           {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("curl -H 'Authorization: Bearer abcdefgh1234'\n")}, true},
		"a pre-shared key is not":                   {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("[wifi-security]\npsk=hunter22\n")}, true},
		"a kubeconfig under another name is not":    {File{Path: "/root/.kube/config", Mode: 0o644}, true},
		"what lies with private keys is not":        {File{Path: "/etc/pki/tls/private/a.pem", Mode: 0o644}, true},
		"a way past a proxy is shown":               {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("bypass=localhost\ncompass: north\n")}, false},
		"the word password in a comment is no loss": {File{Path: "/etc/a", Mode: 0o644, Contents: []byte("# ask for the password every time\n")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.file.Secret(); got != c.want {
				t.Errorf("secret %t, want %t", got, c.want)
			}
		})
	}
}

func TestASumShowsNothing(t *testing.T) {
	if got := Sum([]byte("hunter2")); strings.Contains(got, "hunter") || !strings.HasPrefix(got, "7 bytes, sha256 ") {
		t.Errorf("sum %q", got)
	}
}
