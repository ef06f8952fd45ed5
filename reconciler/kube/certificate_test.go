package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestCertificatesOverTheYears looks in every fourth day for forty years: an agent that knows the
// bundle of the last look trusts what is served now.
func TestCertificatesOverTheYears(t *testing.T) {
	start := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	have, _, err := issue(nil, start)
	if err != nil {
		t.Fatal(err)
	}
	authorized, certified := 0, 0
	for now := start; now.Before(start.AddDate(40, 0, 0)); now = now.Add(4 * 24 * time.Hour) {
		next, why, err := issue(have, now)
		if err != nil {
			t.Fatal(err)
		}
		if len(why) > 0 {
			if again, more, _ := issue(next, now); len(more) > 0 || !maps.EqualFunc(again, next, bytes.Equal) {
				t.Fatalf("%s: looked at again, it is made anew: %v", now, more)
			}
		}
		if changed := !maps.EqualFunc(have, next, bytes.Equal); changed != (len(why) > 0) {
			t.Fatalf("%s: changed %t, and says %v", now, changed, why)
		}
		pair, err := tls.X509KeyPair(next[tlsCert], next[tlsKey])
		if err != nil {
			t.Fatal(err)
		}
		if err := serves(pair.Leaf, have[caCerts], now); err != nil {
			t.Fatalf("%s: who knows the bundle of the last look is refused: %v", now, err)
		}
		if n := len(authorities(next[caCerts])); n < 1 || n > 2 {
			t.Fatalf("%s: %d are trusted", now, n)
		}
		if !bytes.Equal(have[caKey], next[caKey]) {
			authorized++
		}
		if !bytes.Equal(have[tlsKey], next[tlsKey]) {
			certified++
		}
		have = next
	}
	if authorized < 5 || authorized > 6 || certified < 55 || certified > 60 { // every 6 years and 8 months, every 8 months
		t.Errorf("in 40 years %d authorities and %d certificates", authorized, certified)
	}
}

func TestCertificates(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	good, _, err := issue(nil, now)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := issue(nil, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		damage    func(map[string][]byte)
		after     time.Duration
		authority bool // is made anew
		served    bool // is made anew
		trusted   int
		says      string
	}{
		"what is good stays":                               {trusted: 1},
		"nothing":                                          {damage: func(d map[string][]byte) { clear(d) }, authority: true, served: true, trusted: 1, says: "is not there"},
		"a certificate that is cut":                        {damage: func(d map[string][]byte) { d[tlsCert] = d[tlsCert][:100] }, served: true, trusted: 1, says: "damaged"},
		"the key of another certificate":                   {damage: func(d map[string][]byte) { d[tlsKey] = other[tlsKey] }, served: true, trusted: 1, says: "damaged"},
		"a certificate of another authority":               {damage: func(d map[string][]byte) { d[tlsCert], d[tlsKey] = other[tlsCert], other[tlsKey] }, served: true, trusted: 1, says: "damaged"},
		"an authority without its key is trusted still":    {damage: func(d map[string][]byte) { delete(d, caKey) }, authority: true, trusted: 2, says: "damaged"},
		"an authority that is garbage":                     {damage: func(d map[string][]byte) { d[caCerts] = []byte("x") }, authority: true, served: true, trusted: 1, says: "damaged"},
		"a certificate in the place of an authority":       {damage: func(d map[string][]byte) { d[caCerts], d[caKey] = d[tlsCert], d[tlsKey] }, authority: true, served: true, trusted: 1, says: "may not sign"},
		"a certificate with a third of its life":           {after: 240 * 24 * time.Hour, trusted: 1},
		"a certificate with less":                          {after: 245 * 24 * time.Hour, served: true, trusted: 1, says: "a third"},
		"an authority with less signs later":               {after: 2500 * 24 * time.Hour, damage: func(d map[string][]byte) { renewAt(t, d, now.Add(2490*24*time.Hour)) }, authority: true, trusted: 2, says: "a third"},
		"a controller that was off for longer than a year": {after: 400 * 24 * time.Hour, served: true, trusted: 1},
		"a controller that was off for longer than ten":    {after: 4000 * 24 * time.Hour, authority: true, served: true, trusted: 1},
	} {
		t.Run(name, func(t *testing.T) {
			have := maps.Clone(good)
			if c.damage != nil {
				c.damage(have)
			}
			at := now.Add(c.after)
			got, why, err := issue(have, at)
			if err != nil {
				t.Fatal(err)
			}
			if is := !bytes.Equal(got[caKey], have[caKey]); is != c.authority {
				t.Errorf("a new authority: %t, want %t", is, c.authority)
			}
			if is := !bytes.Equal(got[tlsKey], have[tlsKey]); is != c.served {
				t.Errorf("a new certificate: %t, want %t", is, c.served)
			}
			if n := len(authorities(got[caCerts])); n != c.trusted {
				t.Errorf("%d are trusted, want %d", n, c.trusted)
			}
			if !strings.Contains(strings.Join(why, ", "), c.says) {
				t.Errorf("it says %q, want %q", why, c.says)
			}
			pair, err := tls.X509KeyPair(got[tlsCert], got[tlsKey])
			if err != nil {
				t.Fatal(err)
			}
			if err := serves(pair.Leaf, got[caCerts], at); err != nil {
				t.Errorf("it is not trusted: %v", err)
			}
		})
	}
}

// Where authority and certificate are due at once, agents first get to know the new authority.
func TestANewAuthorityIsKnownBeforeItSigns(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	have, _, err := issue(nil, now)
	if err != nil {
		t.Fatal(err)
	}
	both := now.Add(2500 * 24 * time.Hour)
	renewAt(t, have, both.Add(-300*24*time.Hour))
	for _, c := range []struct {
		at                time.Time
		authority, served bool
	}{{both, true, false}, {both.Add(59 * time.Minute), false, false}, {both.Add(61 * time.Minute), false, true}} {
		got, why, err := issue(have, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if a, s := !bytes.Equal(got[caKey], have[caKey]), !bytes.Equal(got[tlsKey], have[tlsKey]); a != c.authority || s != c.served {
			t.Errorf("at %s a new authority: %t, a new certificate: %t: %v", c.at, a, s, why)
		}
		have = got
	}
}

// renewAt lets the certificate be of a later day than its authority.
func renewAt(t *testing.T, data map[string][]byte, at time.Time) {
	t.Helper()
	by, err := tls.X509KeyPair(data[caCerts], data[caKey])
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := certify(by, at)
	if err != nil {
		t.Fatal(err)
	}
	data[tlsCert], data[tlsKey] = encode(leaf)
}

// The authority signs for the one name alone, whoever gets hold of its key.
func TestTheAuthoritySignsNothingElse(t *testing.T) {
	now := time.Now()
	ca, err := authorize(now)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	for _, name := range []string{ContentName, "kubernetes.default.svc", "sub." + ContentName, "sluice.dev"} {
		leaf, err := sign(&x509.Certificate{DNSNames: []string{name}, NotBefore: now, NotAfter: now.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, &ca)
		if err != nil {
			t.Fatal(err)
		}
		_, err = leaf.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now})
		if trusted := err == nil; trusted != strings.HasSuffix(name, ContentName) {
			t.Errorf("%s: trusted %t: %v", name, trusted, err)
		}
	}
}

// Of several replicas that start at once all serve with the same, and what agents trust fits to it.
// What is damaged or taken away is back at the next look.
func TestReplicasShareOneCertificate(t *testing.T) {
	w := newWorld(t)
	var log lines
	replicas := make([]*Certificate, 6)
	for i := range replicas {
		replicas[i] = &Certificate{Client: w.client, Namespace: w.namespace, Log: slog.New(slog.NewTextHandler(&log, nil))}
		if _, err := replicas[i].Get(nil); err == nil {
			t.Error("there is a certificate before there is one")
		}
	}
	secrets, maps := w.client.core.CoreV1().Secrets(w.namespace), w.client.core.CoreV1().ConfigMaps(w.namespace)
	for _, c := range []struct {
		name   string
		damage func()
	}{
		{"nothing is there", func() {}},
		{"the secret is damaged", func() {
			s, err := secrets.Get(t.Context(), contentTLS, metav1.GetOptions{})
			w.must(err)
			s.Data = map[string][]byte{tlsCert: []byte("x"), caCerts: []byte("y")}
			_, err = secrets.Update(t.Context(), s, metav1.UpdateOptions{})
			w.must(err)
		}},
		{"the secret is gone", func() { w.must(secrets.Delete(t.Context(), contentTLS, metav1.DeleteOptions{})) }},
		{"the config map is gone", func() { w.must(maps.Delete(t.Context(), contentCA, metav1.DeleteOptions{})) }},
		{"the config map says something else", func() {
			m, err := maps.Get(t.Context(), contentCA, metav1.GetOptions{})
			w.must(err)
			m.Data = nil
			_, err = maps.Update(t.Context(), m, metav1.UpdateOptions{})
			w.must(err)
		}},
	} {
		c.damage()
		var group sync.WaitGroup
		for _, r := range replicas {
			group.Go(func() {
				if err := r.Check(context.Background(), time.Now); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			})
		}
		group.Wait()
		shown, err := maps.Get(t.Context(), contentCA, metav1.GetOptions{})
		w.must(err)
		var first []byte
		for _, r := range replicas {
			now, err := r.Get(nil)
			w.must(err)
			if first == nil {
				first = now.Certificate[0]
			}
			if !slices.Equal(now.Certificate[0], first) {
				t.Errorf("%s: two serve with different certificates", c.name)
			}
			if err := serves(now.Leaf, []byte(shown.Data[caCerts]), time.Now()); err != nil {
				t.Errorf("%s: agents do not trust it: %v", c.name, err)
			}
		}
	}
	if said := log.String(); strings.Count(said, "made anew") < 3 || strings.Contains(said, "PRIVATE") {
		t.Errorf("the log says:\n%s", said)
	}
}

// lines is a log that many write to.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}
