package kube

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
)

// authority signs certificates for controllers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	a.key, der = sign(t, template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

// sign makes a key and a certificate of it; without an authority it signs itself.
func sign(t *testing.T, template *x509.Certificate, by *authority) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// serve is a controller with a certificate for a name; its address is returned.
func (a *authority) serve(t *testing.T, name string, version uint16, h http.HandlerFunc) string {
	t.Helper()
	key, der := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name},
	}, a)
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MaxVersion: version, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL
}

// mute accepts connections and says nothing, as a controller that is stopped does.
func mute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "https://" + l.Addr().String() // the kernel accepts
}

func packed(t *testing.T, c machine.Config) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if err := json.NewEncoder(w).Encode(c); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return out.Bytes()
}

// gives is a controller that keeps one config for the bearer of a token.
func gives(t *testing.T, token string, c machine.Config) http.HandlerFunc {
	data := packed(t, c)
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path != "/configs/"+string(c.Digest()):
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(data)
		}
	}
}

func write(t *testing.T, name string, data string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// content is a Content with files of its own.
func content(t *testing.T, ca []byte, token string, urls ...string) Content {
	t.Helper()
	dir := t.TempDir()
	return Content{
		URLs: urls, CA: write(t, filepath.Join(dir, "ca.crt"), string(ca)), Token: write(t, filepath.Join(dir, "token"), token+"\n"),
		Quiet: 3 * time.Second, // a good address on a busy machine must not seem silent
	}
}

var (
	wanted = machine.Config{KernelArgs: []string{"a"}, Files: []machine.File{{Path: "/x", Mode: 0o644, Contents: []byte(strings.Repeat("x", 1<<16))}}}
	others = machine.Config{KernelArgs: []string{"b"}}
)

// TestFetch has a first address that is of no use in some way. A second one, which is good, is asked;
// without it the error says what was wrong with the first.
func TestFetch(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	good := gives(t, "t1", wanted)
	answer := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	half := func(end func()) http.HandlerFunc {
		data := packed(t, wanted)
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:len(data)/2])
			w.(http.Flusher).Flush()
			end()
		}
	}
	raw := func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(wanted) }
	strayed := ours.serve(t, ServerName, 0, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the token %q went astray", r.Header.Get("Authorization"))
	})
	for _, row := range []struct {
		name, url string
		want      string // in the error of the first address
	}{
		{"nobody listens", "https://127.0.0.1:1", "refused"},
		{"it is stopped before it says anything", mute(t), "timeout"},
		{"it is stopped before it answers", ours.serve(t, ServerName, 0, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "timeout"},
		{"it is stopped half-way", ours.serve(t, ServerName, 0, func(w http.ResponseWriter, r *http.Request) { half(func() { <-r.Context().Done() })(w, r) }), "nothing came for 3s"},
		{"it ends half-way", ours.serve(t, ServerName, 0, half(func() { panic(http.ErrAbortHandler) })), "unexpected EOF"},
		{"another authority has signed", theirs.serve(t, ServerName, 0, good), "signed by unknown authority"},
		{"its certificate is for another name", ours.serve(t, "api.example.com", 0, good), "not content.sluice.dev"},
		{"its TLS is old", ours.serve(t, ServerName, tls.VersionTLS12, good), "protocol version"},
		{"it sends another config", ours.serve(t, ServerName, 0, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(packed(t, others))
		}), "what came is config " + others.Digest().Short()},
		{"it does not pack", ours.serve(t, ServerName, 0, raw), "invalid header"},
		{"it sends elsewhere", ours.serve(t, ServerName, 0, http.RedirectHandler(strayed+"/configs/x", http.StatusFound).ServeHTTP), "answers with 302"},
		{"it knows another token", ours.serve(t, ServerName, 0, gives(t, "t2", wanted)), "token of this agent's pod is not accepted"},
		{"the config is another pool's", ours.serve(t, ServerName, 0, answer(403)), "not this node's"},
		{"the config is not kept", ours.serve(t, ServerName, 0, gives(t, "t1", others)), "not kept"},
		{"it cannot ask who this is", ours.serve(t, ServerName, 0, answer(503)), "cannot ask the API server"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			second := ours.serve(t, ServerName, 0, good)
			got, err := content(t, ours.pem, "t1", row.url, second).Fetch(t.Context(), wanted.Digest())
			if err != nil || got.Digest() != wanted.Digest() {
				t.Errorf("with a good address after it: %v", err)
			}
			_, err = content(t, ours.pem, "t1", row.url, "https://127.0.0.1:1").Fetch(t.Context(), wanted.Digest())
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), row.url) {
				t.Errorf("with none: %v, want it to say %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "t1") {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
}

// A controller that is asked by many says when to ask again: then the config comes, and not a look
// later. One that goes on refusing, or says nothing of the kind, is not waited for without end.
func TestFetchComesBackWhenItIsAsked(t *testing.T) {
	t.Parallel()
	ours := newAuthority(t)
	for name, row := range map[string]struct {
		after   string
		refuses int // times
		asked   int
		ok      bool
	}{
		"it is asked again":              {"1", 1, 2, true},
		"but not for ever":               {"1", 100, rounds, false},
		"not where it does not say when": {"", 1, 1, false},
		"nor where that makes no sense":  {"-1", 1, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []time.Time
			url := ours.serve(t, ServerName, 0, func(w http.ResponseWriter, r *http.Request) {
				if asked = append(asked, time.Now()); len(asked) > row.refuses {
					gives(t, "t1", wanted)(w, r)
					return
				}
				w.Header().Set("Retry-After", row.after)
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			_, err := content(t, ours.pem, "t1", url).Fetch(t.Context(), wanted.Digest())
			if (err == nil) != row.ok || len(asked) != row.asked {
				t.Errorf("asked %d times, and then %v", len(asked), err)
			}
			for i := 1; i < len(asked); i++ {
				if early := asked[i].Sub(asked[i-1]); early < time.Second {
					t.Errorf("asked again after %s", early)
				}
			}
		})
	}
}

// Where all agree on another config it is the digest that is wrong, and the order is refused for it.
func TestFetchGivesWhatAllAddressesSay(t *testing.T) {
	ours := newAuthority(t)
	foreign := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed(t, others))
	}
	one, two := ours.serve(t, ServerName, 0, foreign), ours.serve(t, ServerName, 0, foreign)
	got, err := content(t, ours.pem, "t1", one, two).Fetch(t.Context(), wanted.Digest())
	if err != nil || got.Digest() != others.Digest() {
		t.Errorf("%s, %v", got.Digest().Short(), err)
	}
}

// Tokens are renewed every hour, and authorities in time: the same Content goes on.
func TestFetchReadsItsFilesAnew(t *testing.T) {
	old, next := newAuthority(t), newAuthority(t)
	c := content(t, old.pem, "t1", old.serve(t, ServerName, 0, gives(t, "t1", wanted)))
	fetch := func(what string, ok bool) {
		t.Helper()
		if _, err := c.Fetch(t.Context(), wanted.Digest()); (err == nil) != ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	fetch("at first", true)
	c.URLs = []string{next.serve(t, ServerName, 0, gives(t, "t2", wanted))}
	fetch("the controllers have another authority and ask for another token", false)
	write(t, c.CA, string(old.pem)+string(next.pem))
	fetch("the token is old", false)
	write(t, c.Token, "t2")
	fetch("both are renewed", true)
	for what, file := range map[string]string{"no authority": c.CA, "no token": c.Token} {
		had, _ := os.ReadFile(file)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		fetch(what, false)
		write(t, file, string(had))
	}
	fetch("they came after the agent", true)
	write(t, c.CA, "no certificate")
	fetch("a damaged authority", false)
}

func TestWhatIsUnpackedIsBounded(t *testing.T) {
	data, err := json.Marshal(wanted)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode(bytes.NewReader(data), int64(len(data))); err != nil || got.Digest() != wanted.Digest() {
		t.Errorf("just as large as it may be: %v", err)
	}
	for what, r := range map[string]io.Reader{
		"one byte more":        bytes.NewReader(append(data, ' ')),
		"no end of one value":  strings.NewReader(`{"kernelArguments":["` + strings.Repeat("a", 2*len(data))),
		"no end after a value": io.MultiReader(bytes.NewReader(data), bytes.NewReader(make([]byte, 1<<20))),
	} {
		if _, err := decode(r, int64(len(data))); err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
