package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"time"
)

// ContentName is the one name that configs are served under, whatever address is dialled.
const ContentName = "content.sluice.dev"

const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 365 * 24 * time.Hour
	early           = time.Hour // that a certificate is valid before it is made: clocks differ
)

// The keys of the Secret. caCerts holds one or two: the newest, whose key caKey is, comes first.
const (
	caCerts = "ca.crt"
	caKey   = "ca.key"
	tlsCert = "tls.crt"
	tlsKey  = "tls.key"
)

// issue makes of what a Secret holds what it should hold now, and says why it differs; no reason: it
// is as it should be. What is damaged is made anew.
//
// A new authority signs nothing for its first hour while the old certificate is good, so that all
// agents know it by then; the one before it stays among the trusted until it ends.
func issue(have map[string][]byte, now time.Time) (want map[string][]byte, why []string, err error) {
	want = map[string][]byte{caCerts: have[caCerts], caKey: have[caKey], tlsCert: have[tlsCert], tlsKey: have[tlsKey]}
	trusted := authorities(have[caCerts])
	pair, wrong := tls.X509KeyPair(have[caCerts], have[caKey])
	if wrong == nil && !authority(pair.Leaf) {
		wrong = errors.New("it may not sign")
	}
	if wrong != nil || late(pair.Leaf, now) {
		why = append(why, reason("the authority", have[caCerts], wrong))
		if pair, err = authorize(now); err != nil {
			return nil, nil, err
		}
		want[caCerts], want[caKey] = encode(pair)
		if len(trusted) > 0 && now.Before(trusted[0].NotAfter) {
			want[caCerts] = append(want[caCerts], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted[0].Raw})...)
		}
	} else if kept := trim(trusted, now); len(kept) != len(trusted) {
		why = append(why, "an authority has ended")
		want[caCerts] = nil
		for _, c := range kept {
			want[caCerts] = append(want[caCerts], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
	}
	serving, wrong := tls.X509KeyPair(have[tlsCert], have[tlsKey])
	if wrong == nil {
		wrong = serves(serving.Leaf, want[caCerts], now)
	}
	fresh := now.Before(pair.Leaf.NotBefore.Add(2 * early))
	if wrong == nil && (fresh || !late(serving.Leaf, now)) {
		return want, why, nil
	}
	why = append(why, reason("the certificate", have[tlsCert], wrong))
	if serving, err = certify(pair, now); err != nil {
		return nil, nil, err
	}
	want[tlsCert], want[tlsKey] = encode(serving)
	return want, why, nil
}

func reason(what string, have []byte, wrong error) string {
	switch {
	case len(have) == 0:
		return what + " is not there"
	case wrong != nil:
		return what + " is damaged: " + wrong.Error()
	}
	return what + " has less than a third of its life left"
}

// late says that less than a third of a certificate's life is left.
func late(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3))
}

func authority(c *x509.Certificate) bool {
	return c.IsCA && c.BasicConstraintsValid && c.KeyUsage&x509.KeyUsageCertSign != 0
}

// authorities are those of a bundle that can be read.
func authorities(bundle []byte) (out []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && authority(c) {
			out = append(out, c)
		}
	}
}

// trim is the newest authority, and the one before it until it ends.
func trim(trusted []*x509.Certificate, now time.Time) []*x509.Certificate {
	if len(trusted) > 1 && now.Before(trusted[1].NotAfter) {
		return trusted[:2]
	}
	return trusted[:min(1, len(trusted))]
}

// serves says what is wrong with a certificate for an agent that trusts a bundle.
func serves(c *x509.Certificate, bundle []byte, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	_, err := c.Verify(x509.VerifyOptions{DNSName: ContentName, Roots: roots, CurrentTime: now})
	return err
}

// authorize makes an authority that can sign for ContentName alone.
func authorize(now time.Time) (tls.Certificate, error) {
	return sign(&x509.Certificate{
		Subject:   pkix.Name{CommonName: "sluice content authority of " + now.UTC().Format(time.DateOnly)},
		NotBefore: now.Add(-early), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{ContentName},
	}, nil)
}

// certify makes a certificate for ContentName.
func certify(by tls.Certificate, now time.Time) (tls.Certificate, error) {
	end := now.Add(certificateLife)
	if end.After(by.Leaf.NotAfter) {
		end = by.Leaf.NotAfter
	}
	return sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: ContentName}, DNSNames: []string{ContentName},
		NotBefore: now.Add(-early), NotAfter: end,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &by)
}

// sign makes a key, and a certificate of it that is signed by another; nil: by itself.
func sign(as *x509.Certificate, by *tls.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if as.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return tls.Certificate{}, err
	}
	parent, signer := as, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, as, parent, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

func encode(c tls.Certificate) (cert, key []byte) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		panic("kube: a key that was just made: " + err.Error())
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
