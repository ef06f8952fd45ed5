package join

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-gitops/sluice/machine"
)

// registry is what a cluster would say. The token of a node is "token-" and its name.
type registry struct {
	mu     sync.Mutex
	orders map[string]machine.Digest
	kept   map[machine.Digest][]byte
	silent error
	reads  int
	hold   chan struct{} // reads wait for it; nil does not
	asked  chan struct{} // hears of each question; nil does not
}

func (r *registry) Ordered(ctx context.Context, token string) (string, machine.Digest, error) {
	if r.asked != nil {
		r.asked <- struct{}{}
	}
	if r.silent != nil {
		return "", "", r.silent
	}
	node, _ := strings.CutPrefix(token, "token-")
	d, ok := r.orders[node]
	if !ok {
		return "", "", nil
	}
	return node, d, nil
}

func (r *registry) Packed(ctx context.Context, d machine.Digest) ([]byte, error) {
	r.mu.Lock()
	r.reads++
	r.mu.Unlock()
	if r.hold != nil {
		select {
		case <-r.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if d == "broken" {
		return nil, errors.New("the disk is gone")
	}
	return r.kept[d], nil
}

func zipped(s string) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write([]byte(s))
	w.Close()
	return out.Bytes()
}

const d1, d2 = "1111", "2222"

func newRegistry() *registry {
	return &registry{
		orders: map[string]machine.Digest{"a": d1, "b": d2, "idle": "", "lost": "3333", "ill": "broken"},
		kept:   map[machine.Digest][]byte{d1: zipped(`{"fips": true}`), d2: zipped(`{}`)},
	}
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, authorization string
		silent                      error
		want                        int
	}{
		"a node gets the config of its order":      {"GET", "/configs/" + d1, "Bearer token-a", nil, 200},
		"the scheme is of any case":                {"GET", "/configs/" + d1, "bearer token-a", nil, 200},
		"it may ask whether it is there":           {"HEAD", "/configs/" + d1, "Bearer token-a", nil, 200},
		"another's config is not for it":           {"GET", "/configs/" + d2, "Bearer token-a", nil, 403},
		"one that nobody has is not, either":       {"GET", "/configs/4444", "Bearer token-a", nil, 403},
		"without an order there is none":           {"GET", "/configs/" + d1, "Bearer token-idle", nil, 403},
		"without an order the empty digest is not": {"GET", "/configs/", "Bearer token-idle", nil, 403},
		"a path that climbs names no config":       {"GET", "/configs/../configs/" + d1, "Bearer token-a", nil, 403},
		"a token of nobody is refused":             {"GET", "/configs/" + d1, "Bearer token-x", nil, 401},
		"no token is refused":                      {"GET", "/configs/" + d1, "", nil, 401},
		"a password is refused":                    {"GET", "/configs/" + d1, "Basic token-a", nil, 401},
		"an endless token is not asked about":      {"GET", "/configs/" + d1, "Bearer token-a" + strings.Repeat("x", 20_000), errors.New("it was"), 401},
		"what is not kept is not found":            {"GET", "/configs/3333", "Bearer token-lost", nil, 404},
		"what cannot be read is asked for again":   {"GET", "/configs/broken", "Bearer token-ill", nil, 503},
		"nobody knows whose token it is":           {"GET", "/configs/" + d1, "Bearer token-a", errors.New("no answer"), 503},
		"nothing can be written":                   {"PUT", "/configs/" + d1, "Bearer token-a", nil, 405},
		"there is nothing else":                    {"GET", "/", "Bearer token-a", nil, 404},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			var codes []int
			r := newRegistry()
			r.silent = c.silent
			s := &Server{
				Registry: r, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				Asked: func(code int) { codes = append(codes, code) },
			}
			q := httptest.NewRequest(c.method, c.path, nil)
			q.Header.Set("Authorization", c.authorization)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, q)
			if w.Code != c.want || len(codes) != 1 || codes[0] != c.want {
				t.Fatalf("answers %d and counts %v, want %d: %s", w.Code, codes, c.want, w.Body)
			}
			for what, text := range map[string]string{"log": log.String(), "answer": w.Body.String()} {
				if strings.Contains(text, "token-") || strings.Contains(text, "fips") {
					t.Errorf("the %s holds a token or a config: %s", what, text)
				}
			}
			h := w.Header()
			if c.want == 200 {
				if h.Get("Content-Encoding") != "gzip" || h.Get("Content-Type") != "application/json" || h.Get("ETag") != `"`+d1+`"` || h.Get("Cache-Control") != "no-store" {
					t.Errorf("headers %v", h)
				}
			} else if h.Get("Content-Encoding") != "" || h.Get("ETag") != "" {
				t.Errorf("a refusal with the headers %v", h)
			}
			if c.want == 503 && !strings.Contains(log.String(), "level=WARN") {
				t.Errorf("nobody hears why: %s", &log)
			}
		})
	}
}

// While nothing can be found out, the log says why once: each node asks again and again.
func TestTheLogHasATroubleOnce(t *testing.T) {
	var log bytes.Buffer
	r := newRegistry()
	s := &Server{Registry: r, Log: slog.New(slog.NewTextHandler(&log, nil))}
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, c := range []struct {
		name string
		ctx  context.Context
		away error
		code int
		want int
	}{
		{"all is well", t.Context(), nil, 200, 0},
		{"one that has left tells nothing", gone, errors.New("it left"), 503, 0},
		{"nobody answers", t.Context(), errors.New("no answer to a"), 503, 1},
		{"nor to the next", t.Context(), errors.New("no answer to b"), 503, 0},
		{"all is well again", t.Context(), nil, 200, 0},
		{"until it is not", t.Context(), errors.New("no answer to a"), 503, 1},
	} {
		log.Reset()
		r.silent = c.away
		q := httptest.NewRequestWithContext(c.ctx, "GET", "/configs/"+d1, nil)
		q.Header.Set("Authorization", "Bearer token-a")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, q)
		if got := strings.Count(log.String(), "level=WARN"); w.Code != c.code || got != c.want {
			t.Errorf("%s: answers %d and warns %d times, want %d and %d: %s", c.name, w.Code, got, c.code, c.want, &log)
		}
	}
}

// rig is a server as agents reach it.
type rig struct {
	*testing.T
	server *Server
	addr   string
	roots  *x509.CertPool
	stop   context.CancelFunc
	over   chan error
}

func serve(t *testing.T, r Registry) *rig {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	as := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"content.test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, as, as, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{T: t, server: &Server{Registry: r, Log: slog.New(slog.DiscardHandler)}, addr: l.Addr().String(), roots: x509.NewCertPool(), over: make(chan error, 1)}
	g.roots.AddCert(leaf)
	ctx, stop := context.WithCancel(t.Context())
	g.stop = stop
	go func() {
		g.over <- g.server.Serve(ctx, l, func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
		})
	}()
	t.Cleanup(stop)
	return g
}

func (g *rig) client(newest uint16) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: g.roots, ServerName: "content.test", MaxVersion: newest}}}
}

func (g *rig) get(c *http.Client, node, digest string) (int, string, error) {
	q, err := http.NewRequestWithContext(g.Context(), http.MethodGet, "https://"+g.addr+"/configs/"+digest, nil)
	if err != nil {
		return 0, "", err
	}
	q.Header.Set("Authorization", "Bearer token-"+node)
	a, err := c.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	return a.StatusCode, string(body), err
}

func TestServesOverTLS13Alone(t *testing.T) {
	g := serve(t, newRegistry())
	if code, body, err := g.get(g.client(0), "a", d1); code != 200 || body != `{"fips": true}` || err != nil {
		t.Errorf("got %d, %q, %v", code, body, err)
	}
	if code, _, err := g.get(g.client(tls.VersionTLS12), "a", d1); err == nil {
		t.Errorf("an old protocol is answered with %d", code)
	}
}

// A thousand nodes that ask at once cost one reading, whoever of them goes away meanwhile.
func TestManyAskForTheSame(t *testing.T) {
	r := newRegistry()
	r.hold, r.asked = make(chan struct{}), make(chan struct{}, 2000)
	big := zipped(`{"osImageURL": "` + strings.Repeat("x", 1<<20) + `"}`)
	r.kept[d1] = big
	s := &Server{Registry: r, Log: slog.New(slog.DiscardHandler)}
	ask := func(ctx context.Context) int {
		q := httptest.NewRequestWithContext(ctx, http.MethodGet, "/configs/"+d1, nil)
		q.Header.Set("Authorization", "Bearer token-a")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, q)
		if w.Code == 200 && !bytes.Equal(w.Body.Bytes(), big) {
			return -1
		}
		return w.Code
	}
	impatient, away := context.WithCancel(t.Context())
	first := make(chan int, 1)
	go func() { first <- ask(impatient) }()
	<-r.asked
	var group sync.WaitGroup
	codes := make(chan int, 1000)
	for range 1000 {
		group.Go(func() { codes <- ask(t.Context()) })
	}
	for range asking - 1 { // all slots are taken; nobody else can ask
		<-r.asked
	}
	away()
	if code := <-first; code != 503 {
		t.Errorf("who goes away gets %d", code)
	}
	close(r.hold)
	group.Wait()
	close(codes)
	for code := range codes {
		if code != 200 {
			t.Fatalf("one of many gets %d", code)
		}
	}
	if r.reads != 1 {
		t.Errorf("the config was read %d times", r.reads)
	}
}

func TestTheShelfIsBounded(t *testing.T) {
	var s shelf
	reads := map[machine.Digest]int{}
	get := func(d machine.Digest, size int) {
		t.Helper()
		got, err := s.get(t.Context(), d, func(context.Context, machine.Digest) ([]byte, error) {
			reads[d]++
			return make([]byte, size), nil
		})
		if err != nil || len(got) != size {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
	const half = room / 2
	get("a", half)
	get("b", half)
	get("a", half) // asked for last
	get("c", half) // takes the place of b
	get("a", half)
	get("b", half)
	get("huge", room+1) // is not put there, and is served all the same
	get("huge", room+1)
	if got, want := fmt.Sprint(reads), "map[a:1 b:2 c:1 huge:2]"; got != want {
		t.Errorf("reads %s, want %s", got, want)
	}
}

// What could not be read, or is not there, is asked for anew: it may come.
func TestNothingIsLearntFromWhatIsNotThere(t *testing.T) {
	r := newRegistry()
	s := &Server{Registry: r, Log: slog.New(slog.DiscardHandler)}
	for _, want := range []int{404, 200} {
		q := httptest.NewRequest(http.MethodGet, "/configs/3333", nil)
		q.Header.Set("Authorization", "Bearer token-lost")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, q)
		if w.Code != want {
			t.Errorf("answers %d, want %d", w.Code, want)
		}
		r.kept["3333"] = zipped("{}")
	}
}

// A stop lets arrive what is under way, and takes no more.
func TestAStopLetsArriveWhatIsUnderWay(t *testing.T) {
	r := newRegistry()
	r.hold, r.asked = make(chan struct{}), make(chan struct{}, 1)
	g := serve(t, r)
	got := make(chan string, 1)
	go func() {
		code, body, err := g.get(g.client(0), "a", d1)
		got <- fmt.Sprintf("%d %s %v", code, body, err)
	}()
	<-r.asked
	g.stop()
	for { // until nobody is let in
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	close(r.hold)
	if got := <-got; got != `200 {"fips": true} <nil>` {
		t.Errorf("got %s", got)
	}
	if err := <-g.over; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// endless is a listener at which there is always somebody.
type endless struct{ net.Listener }

func (endless) Accept() (net.Conn, error) {
	ours, _ := net.Pipe()
	return ours, nil
}

// Who holds connections open takes places, and gives each back once.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bounded{Listener: endless{}, places: make(chan struct{}, 2)}
		in := make(chan net.Conn, 10)
		go func() {
			for range 4 {
				c, _ := b.Accept()
				in <- c
			}
		}()
		synctest.Wait()
		if len(in) != 2 {
			t.Fatalf("%d are let in where there are 2 places", len(in))
		}
		one := <-in
		one.Close()
		one.Close()
		synctest.Wait()
		if len(in) != 2 {
			t.Fatalf("one has gone, and %d are in", len(in))
		}
		(<-in).Close()
		(<-in).Close()
		synctest.Wait()
		(<-in).Close()
		if len(in) != 0 || len(b.places) != 0 {
			t.Errorf("all are gone, and %d places are taken", len(b.places))
		}
	})
}
