package facts

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/sluice-gitops/sluice/policy"
)

// Keys are those whose signatures the operator trusts.
type Keys struct {
	pgp openpgp.EntityList
	ssh []signer
}

type signer struct {
	names string // as allowed_signers lists them
	key   ssh.PublicKey
}

var block = regexp.MustCompile(`(?s)-----BEGIN PGP PUBLIC KEY BLOCK-----.*?-----END PGP PUBLIC KEY BLOCK-----`)

// ParseKeys reads a file of trusted keys: OpenPGP public keys, armored, and lines as in the
// allowed_signers file of ssh-keygen, in any order. What it does not understand is an error: a
// key that is passed over would be missed on the day of the rollout.
func ParseKeys(data []byte) (*Keys, error) {
	k := &Keys{}
	for _, armored := range block.FindAll(data, -1) {
		list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
		if err != nil {
			return nil, fmt.Errorf("read OpenPGP key: %w", err)
		}
		for _, e := range list {
			if e.PrivateKey != nil {
				return nil, fmt.Errorf("key %X is a private one: give the public key (gpg --export --armor)", e.PrimaryKey.Fingerprint)
			}
		}
		k.pgp = append(k.pgp, list...)
	}
	rest := block.ReplaceAllFunc(data, func(b []byte) []byte { return bytes.Repeat([]byte("\n"), bytes.Count(b, []byte("\n"))) })
	n := 0
	for line := range strings.Lines(string(rest)) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := parseSigner(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		k.ssh = append(k.ssh, s)
	}
	if len(k.pgp) == 0 && len(k.ssh) == 0 {
		return nil, errors.New("it holds no key: nothing could ever be rolled out")
	}
	return k, nil
}

func parseSigner(line string) (signer, error) {
	names, rest, _ := strings.Cut(line, " ")
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(strings.TrimSpace(rest)))
	if err != nil {
		return signer{}, errors.New(`it is no line of allowed_signers, as in "ada@example.com ssh-ed25519 AAAA..."`)
	}
	for _, o := range options {
		spaces, ok := strings.CutPrefix(o, "namespaces=")
		if !ok || spaces != `"git"` {
			return signer{}, fmt.Errorf(`the option %s is not supported: write the key with namespaces="git", or with none`, o)
		}
	}
	if strings.Contains(key.Type(), "-cert-") {
		return signer{}, errors.New("certificates are not supported: give the key itself")
	}
	return signer{names, key}, nil
}

// Check says what an armored signature of some bytes proves. A key must be valid at now.
func (k *Keys) Check(payload []byte, armored string, now time.Time) policy.Signature {
	switch {
	case armored == "":
		return policy.Signature{Why: "it is not signed"}
	case strings.Count(armored, "-----BEGIN ") > 1:
		return policy.Signature{Why: "it has several signatures"}
	case strings.HasPrefix(armored, "-----BEGIN SSH SIGNATURE-----"):
		return k.checkSSH(payload, armored)
	case strings.HasPrefix(armored, "-----BEGIN PGP "):
		return k.checkPGP(payload, armored, now)
	}
	return policy.Signature{Why: "its signature is neither of OpenPGP nor of SSH"}
}

func (k *Keys) checkPGP(payload []byte, armored string, now time.Time) policy.Signature {
	config := &packet.Config{Time: func() time.Time { return now }}
	e, err := openpgp.CheckArmoredDetachedSignature(k.pgp, bytes.NewReader(payload), strings.NewReader(armored), config)
	switch {
	case err != nil && strings.Contains(err.Error(), "unknown entity"):
		return policy.Signature{Why: "the OpenPGP key that signed it is not among the trusted ones"}
	case err != nil:
		return policy.Signature{Why: "its OpenPGP signature does not hold: " + clip(err.Error())}
	}
	name := fmt.Sprintf("OpenPGP %X", e.PrimaryKey.Fingerprint)
	if id := e.PrimaryIdentity(); id != nil {
		name = fmt.Sprintf("%s (%s)", clip(id.Name), name)
	}
	return policy.Signature{By: name}
}

// space is what git signs in, so that a signature made for anything else is none of a commit.
const space = "git"

func (k *Keys) checkSSH(payload []byte, armored string) policy.Signature {
	s, err := sshsig.Unarmor([]byte(armored))
	if err != nil {
		return policy.Signature{Why: "its SSH signature cannot be read"}
	}
	for _, trusted := range k.ssh {
		if !bytes.Equal(trusted.key.Marshal(), s.PublicKey.Marshal()) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(payload), s, trusted.key, s.HashAlgorithm, space); err != nil {
			return policy.Signature{Why: "its SSH signature does not hold: " + clip(err.Error())}
		}
		return policy.Signature{By: fmt.Sprintf("%s (SSH %s)", clip(trusted.names), ssh.FingerprintSHA256(trusted.key))}
	}
	return policy.Signature{Why: "the SSH key that signed it is not among the trusted ones"}
}
