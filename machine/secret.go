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
	return f.Path == "/var/lib/kubelet/config.json" || strings.HasPrefix(f.Path, "/etc/ssh/ssh_host_") || HoldsSecret(f.Contents)
}

// secretNames are parts of file names behind which people keep secrets.
var secretNames = []string{"secret", "password", "passwd", "shadow", "token", "kubeconfig", "pull-secret", "credential", "htpasswd", ".key", "id_rsa", "id_ed25519", "id_ecdsa", ".p12", ".pfx", ".netrc", "keytab", "auth.json"}

// HoldsSecret says that a text looks as if it held a key, a token or a password. It errs on the
// side of saying so.
func HoldsSecret(text []byte) bool { return !utf8.Valid(text) || secretText.Match(text) }

var secretText = regexp.MustCompile(`(?i)-----BEGIN [A-Z ]*PRIVATE KEY|"auths?"\s*:|` +
	`(password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?|authorization)["']?\s*[:=]\s*["']?[^\s"'<>{}$]{4,}|` +
	`\b(gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{15,}|AKIA[0-9A-Z]{12,}|xox[abprs]-[A-Za-z0-9-]{8,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,})|` +
	`://[^/\s:@]+:[^/\s:@]+@|\$(1|5|6|y|2[aby])\$[./A-Za-z0-9$=,]{8,}`)

// Sum stands for contents that are not shown: their size, and enough of their sha256 to tell two
// apart.
func Sum(contents []byte) string {
	sum := sha256.Sum256(contents)
	return fmt.Sprintf("%d bytes, sha256 %s", len(contents), hex.EncodeToString(sum[:4]))
}
