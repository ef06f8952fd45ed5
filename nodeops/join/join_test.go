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
	"slices"
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

// visitors is a listener to which connections are sent.
type visitors struct {
	net.Listener
	come chan net.Conn
}

func (v visitors) Accept() (net.Conn, error) {
	conn, ok := <-v.come
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (visitors) Close() error { return nil }

// visitor is a connection from an address that notes that it is closed.
type visitor struct {
	net.Conn
	from   string
	closed *bool
}

func (v visitor) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(v.from), Port: 1} }

func (v visitor) Close() error {
	*v.closed = true
	return nil
}

// Who holds connections open takes places, no more than his share, and gives each back once.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		come := make(chan net.Conn)
		d := open(visitors{come: come}, 3, 2, 4)
		var in []net.Conn
		taken := make(chan net.Conn, 10)
		go func() {
			for {
				conn, err := d.Accept()
				if err != nil {
					close(taken)
					return
				}
				taken <- conn
			}
		}()
		gone := map[string]*bool{}
		arrive := func(from, name string) {
			gone[name] = new(bool)
			come <- visitor{from: from, closed: gone[name]}
		}
		holds := func(when, inside, turned string) {
			t.Helper()
			synctest.Wait()
			for len(taken) > 0 {
				in = append(in, <-taken)
			}
			var have, away []string
			for _, c := range in {
				have = append(have, address(c))
			}
			for name, closed := range gone {
				if *closed {
					away = append(away, name)
				}
			}
			slices.Sort(away)
			if strings.Join(have, " ") != inside || strings.Join(away, " ") != turned {
				t.Errorf("%s: inside are %q and turned away %q, want %q and %q", when, have, away, inside, turned)
			}
		}
		leave := func(i int) {
			c := in[i]
			in = append(in[:i:i], in[i+1:]...)
			c.Close()
			c.Close()
		}
		for _, name := range []string{"a1", "a2", "a3", "a4", "a5"} {
			arrive("10.0.0.1", name)
		}
		holds("one address has its share", "10.0.0.1 10.0.0.1", "")
		arrive("10.0.0.2", "b1")
		holds("another goes past its line", "10.0.0.1 10.0.0.1 10.0.0.2", "")
		arrive("10.0.0.2", "b2")
		arrive("10.0.0.3", "c1")
		holds("a line that is full loses the last of whoever has the most in it", "10.0.0.1 10.0.0.1 10.0.0.2", "a5")
		leave(0)
		holds("a place is given back once, to whoever has none", "10.0.0.1 10.0.0.2 10.0.0.3", "a1 a5")
		leave(2)
		holds("of two who have as many, to the first in line", "10.0.0.1 10.0.0.2 10.0.0.1", "a1 a5 c1")
		d.Close()
		close(come)
		holds("a door that is shut turns away who waits", "10.0.0.1 10.0.0.2 10.0.0.1", "a1 a4 a5 b2 c1")
		for len(in) > 0 {
			leave(0)
		}
		if d.inside != 0 || len(d.of) != 0 {
			t.Errorf("all are gone, and %d places are taken: %v", d.inside, d.of)
		}
	})
}

// A door that is shut while somebody accepts waits for nobody: the process would not end. Where it does,
// a run of this in three finds it.
func TestADoorShutsWhileItIsUsed(t *testing.T) {
	for range 50000 {
		come := make(chan net.Conn)
		d := open(visitors{come: come}, 8, 8, 8)
		for range 8 {
			come <- visitor{from: "10.0.0.1", closed: new(bool)}
		}
		var all sync.WaitGroup
		all.Go(func() {
			for {
				if _, err := d.Accept(); err != nil {
					return
				}
			}
		})
		all.Go(func() { d.Close() })
		all.Wait()
		close(come)
	}
}

// flooded is a registry that cannot find out whose a token of junk is.
type flooded struct {
	*registry
	junk chan struct{} // hears of each
}

func (f flooded) Ordered(ctx context.Context, token string) (string, machine.Digest, error) {
	if token != "junk" {
		return f.registry.Ordered(ctx, token)
	}
	f.junk <- struct{}{}
	<-ctx.Done()
	return "", "", ctx.Err()
}

// Whoever sends junk, or says nothing, from one address keeps no agent at another from its config.
func TestAFloodFromOneAddressStarvesNobody(t *testing.T) {
	f := flooded{newRegistry(), make(chan struct{}, 1000)}
	g := serve(t, f)
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	for range callers {
		conn, err := from.DialContext(t.Context(), "tcp", g.addr)
		if err != nil {
			t.Skipf("no second address on loopback: %v", err)
		}
		defer conn.Close()
	}
	flood := g.client(0)
	flood.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.3")}}).DialContext
	var all sync.WaitGroup
	defer all.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for range 2 * asking {
		all.Go(func() {
			q, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+g.addr+"/configs/"+d1, nil)
			q.Header.Set("Authorization", "Bearer junk")
			if a, err := flood.Do(q); err == nil {
				a.Body.Close()
			}
		})
	}
	for range min(share, asking) {
		<-f.junk // as much of it is asked about as one address may
	}
	began := time.Now()
	code, body, err := g.get(g.client(0), "a", d1)
	if code != 200 || err != nil {
		t.Errorf("after %s an honest agent gets %d %s %v", time.Since(began), code, body, err)
	}
	if more := len(f.junk); more > 0 {
		t.Errorf("%d requests of one address are asked about at once", share+more)
	}
}
