package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Secret says that a file's contents must not be shown: by where it lies, by who may read it, or
// by what it holds. It errs on the side of hiding.
func (f File) Secret() bool {
	if f.Mode&0o044 == 0 {
		return true // whoever made it unreadable for others meant it
	}
	name := strings.ToLower(path.Base(f.Path))
	for _, word := range secretNames {
		if strings.Contains(name, word) {
			return true
		}
	}
	for _, dir := range secretDirs {
		if strings.Contains(f.Path, dir) {
			return true
		}
	}
	return HoldsSecret(f.Contents)
}

// secretNames are parts of file names behind which people keep secrets.
var secretNames = []string{"secret", "password", "passwd", "shadow", "token", "kubeconfig", "pull-secret", "credential", "htpasswd", ".key", "id_rsa", "id_ed25519", "id_ecdsa", ".p12", ".pfx", ".netrc", "keytab", "auth.json"}

// secretDirs are parts of paths where nothing but secrets lies.
var secretDirs = []string{"/private/", "/.kube/", "/.docker/", "/.aws/", "/.gnupg/", "/etc/ssh/ssh_host_", "/etc/wireguard/", "/var/lib/kubelet/config.json", "/var/lib/kubelet/pki/"}

// HoldsSecret says that a text looks as if it held a key, a token or a password. It errs on the
// side of saying so.
func HoldsSecret(text []byte) bool { return !utf8.Valid(text) || secretText.Match(text) }

var secretText = regexp.MustCompile(`(?i)-----BEGIN [A-Z ]*PRIVATE KEY|"auths?"\s*:|AGE-SECRET-KEY-|LS0tLS1CRUdJTi|\bbearer\s+[A-Za-z0-9._~+/-]{8,}|` +
	`(pass(word|wd|phrase|code)|\b([a-z0-9]+_)*pass|pwd|psk|secret|token|api[_-]?key|access[_-]?key|(private|preshared|secret|signing|encryption)[_-]?key|key[_-]?data|credentials?|authorization)["']?\s*[:=]\s*["']?[^\s"'<>{}$]{4,}|` +
	`\b(gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{15,}|AKIA[0-9A-Z]{12,}|xox[abprs]-[A-Za-z0-9-]{8,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})|` +
	`://[^/\s:@]+:[^/\s:@]+@|\$(1|5|6|y|2[aby])\$[./A-Za-z0-9$=,]{8,}`)

// Sum stands for contents that are not shown: their size, and enough of their sha256 to tell two
// apart.
func Sum(contents []byte) string {
	sum := sha256.Sum256(contents)
	return fmt.Sprintf("%d bytes, sha256 %s", len(contents), hex.EncodeToString(sum[:4]))
}
