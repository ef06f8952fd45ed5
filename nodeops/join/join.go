// Package join serves nodes what they are to become, over TLS: a node gets the config that its own
// order names, and no other. It knows nothing of where orders and configs are kept.
//
//	GET /configs/DIGEST    Authorization: Bearer TOKEN
//
//	200  the JSON of a machine.Config, always compressed with gzip
//	401  the token is nobody's that may ask
//	403  it is not the config that this node's order names
//	404  it is not kept
//	503  it cannot be found out now: ask again, or another replica
//
// What is served may hold secrets. Neither they nor tokens are ever logged.
package join

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluice-gitops/sluice/machine"
)

// Registry knows who asks, and what is kept. It is asked by many goroutines at once.
type Registry interface {
	// Ordered is the node that a token belongs to, and the digest of the config that its order
	// names: "" while it has none. No node: the token is not good. An error: it cannot be found out
	// now; its words are logged, and hold no token.
	Ordered(ctx context.Context, token string) (node string, config machine.Digest, err error)
	// Packed is the JSON of a config, compressed with gzip; nil: it is not kept. It is not changed
	// by anybody afterwards.
	Packed(ctx context.Context, config machine.Digest) ([]byte, error)
}

// Server answers nodes. Its fields are set before its first use.
type Server struct {
	Registry Registry
	Log      *slog.Logger
	Asked    func(code int) // told of every answer, by many goroutines at once; nil tells nobody

	shelf  shelf
	slots  slots
	silent atomic.Bool // the last that asked heard that it cannot be found out, and the log has why
}

const (
	patience = 10 * time.Second // for the answer to who asks, and for a config to be read
	delivery = 2 * time.Minute  // for the whole of an answer to arrive
	asking   = 32               // requests that ask the Registry at once; the others wait their turn
	callers  = 256              // connections at once, each of some 50 KiB; the others wait in line
	share    = asking / 2       // of them from one address: with all of its own it leaves others their turn
	line     = 2048             // connections in line
	longest  = 16 << 10         // of a token
)

// Serve answers on a listener until the context ends, and then lets what is under way arrive.
func (s *Server) Serve(ctx context.Context, l net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) error {
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: delivery,
		MaxHeaderBytes: 2 * longest,
		ErrorLog:       slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug), // of handshakes that fail: anybody can make one
	}
	server.SetKeepAlivesEnabled(false) // a node asks once in a rollout: its place is the next one's
	gone, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := context.AfterFunc(ctx, func() {
		defer stop()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if server.Shutdown(last) != nil {
			server.Close()
		}
	})
	// HTTP/1.1 alone: a connection is a request, and its bound is the bound of both.
	err := server.Serve(tls.NewListener(open(l, callers, share, line), &tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: certificate, NextProtos: []string{"http/1.1"},
	}))
	if ended() {
		return err // nobody has asked it to end
	}
	<-gone.Done()
	return nil
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	want, _ := strings.CutPrefix(r.URL.Path, "/configs/")
	a := s.answer(ctx, r, machine.Digest(want))
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch a.code {
	case http.StatusOK:
		h.Set("Content-Type", "application/json")
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(a.packed)))
		h.Set("ETag", strconv.Quote(want))
		w.WriteHeader(a.code)
		w.Write(a.packed)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, a.why, a.code)
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
		http.Error(w, a.why, a.code)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
		http.Error(w, a.why, a.code)
	default:
		http.Error(w, a.why, a.code)
	}
	if s.Asked != nil {
		s.Asked(a.code)
	}
	level, said := slog.LevelDebug, []any{"code", a.code, "node", a.node, "from", r.RemoteAddr, "took", time.Since(began)}
	if a.code == http.StatusOK || a.code == http.StatusNotFound {
		said = append(said, "config", machine.Digest(want).Short())
	}
	if a.trouble != nil {
		said = append(said, "error", a.trouble)
		// A thousand nodes that ask again and again would say the same. Whoever goes away early tells nothing.
		if r.Context().Err() == nil && !s.silent.Swap(true) {
			level = slog.LevelWarn
		}
	}
	if a.code == http.StatusOK {
		s.silent.Store(false)
	}
	s.Log.Log(r.Context(), level, "content", said...)
}

// answer is what one request gets. Why is told to whoever asks, trouble to the log alone.
type answer struct {
	code    int
	node    string // that asks; "" is not known
	why     string
	trouble error
	packed  []byte
}

func (s *Server) answer(ctx context.Context, r *http.Request, want machine.Digest) answer {
	if !strings.HasPrefix(r.URL.Path, "/configs/") {
		return answer{code: http.StatusNotFound, why: "there is nothing here: ask for /configs/DIGEST"}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return answer{code: http.StatusMethodNotAllowed, why: "configs can only be read"}
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > longest {
		return answer{code: http.StatusUnauthorized, why: "a token is asked for"}
	}
	if !s.slots.enter(ctx) {
		return answer{code: http.StatusServiceUnavailable, why: "too many ask at once: ask again"}
	}
	defer s.slots.leave()
	node, has, err := s.Registry.Ordered(ctx, token)
	switch {
	case err != nil:
		return answer{code: http.StatusServiceUnavailable, node: node, why: "it cannot be found out now who asks, or what was ordered: ask again", trouble: err}
	case node == "":
		return answer{code: http.StatusUnauthorized, why: "the token is not good here: it must be of an agent's pod, for this audience, and in force"}
	case has == "" || has != want:
		return answer{code: http.StatusForbidden, node: node, why: "this node's order does not name that config"}
	}
	packed, err := s.shelf.get(ctx, want, s.Registry.Packed)
	switch {
	case err != nil:
		return answer{code: http.StatusServiceUnavailable, node: node, why: "the config cannot be read now: ask again", trouble: err}
	case packed == nil:
		return answer{code: http.StatusNotFound, node: node, why: "the config is not kept: the controller puts it back while the repository still asks for it"}
	}
	return answer{code: http.StatusOK, node: node, packed: packed}
}
