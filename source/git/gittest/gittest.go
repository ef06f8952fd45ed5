// Package gittest serves real Git repositories over HTTP to tests: git http-backend behind a
// server that counts requests, asks for credentials, and fails on demand.
package gittest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Server serves every repository below one folder, on loopback. It is closed with the test.
type Server struct {
	URL string // without a slash at its end

	t       testing.TB
	root    string
	backend http.Handler

	mu       sync.Mutex
	requests []string
	fault    func(http.ResponseWriter, *http.Request) bool
	header   string // the Authorization that is asked for; "" = none
}

// New starts a server. Without git on this machine it skips the test.
func New(t testing.TB) *Server {
	t.Helper()
	bin, err := exec.LookPath("git")
	if err != nil {
		t.Skip("skipped: there is no git on this machine to serve repositories with")
	}
	s := &Server{t: t, root: t.TempDir()}
	s.backend = &cgi.Handler{
		Path:   bin,
		Args:   []string{"http-backend"},
		Dir:    s.root,
		Env:    append(isolated(), "GIT_PROJECT_ROOT="+s.root, "GIT_HTTP_EXPORT_ALL=1"),
		Stderr: io.Discard,
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	s.URL = web.URL
	return s
}

// ServeHTTP counts, applies the fault, asks for credentials, and lets git answer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	fault, header := s.fault, s.header
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	if header != "" && r.Header.Get("Authorization") != header {
		w.Header().Set("WWW-Authenticate", `Basic realm="gittest"`)
		http.Error(w, "credentials, please; not "+r.Header.Get("Authorization"), http.StatusUnauthorized)
		return
	}
	s.backend.ServeHTTP(w, r)
}

// Requests gives the requests since the last call, as "GET /fleet.git/info/refs".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.requests
	s.requests = nil
	return out
}

// Fault lets f answer requests instead of git, where it returns true; nil ends that.
func (s *Server) Fault(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Down makes every connection break off, as if the server were away, until Fault(nil).
func (s *Server) Down() {
	s.Fault(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
}

// Authorize makes the server ask for this Authorization header from now on; "" for none.
func (s *Server) Authorize(header string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header = header
}

// Repo is a bare repository.
type Repo struct {
	URL string // over the server's HTTP
	Dir string // on disk

	t     testing.TB
	clock atomic.Int64
}

// Repo makes an empty repository; its HEAD is main. Pushes over HTTP are allowed.
func (s *Server) Repo(name string) *Repo {
	s.t.Helper()
	r := &Repo{URL: s.URL + "/" + name, Dir: filepath.Join(s.root, name), t: s.t}
	if out, err := git(s.root, "", "init", "--quiet", "--bare", "--initial-branch=main", r.Dir); err != nil {
		s.t.Fatalf("git init: %v\n%s", err, out)
	}
	r.Git("config", "http.receivepack", "true")
	return r
}

// Files are the changes of a commit: path -> content. Link, Submodule and Removed make values
// that are not plain files.
type Files map[string]string

// Removed takes a file away.
const Removed = "\x00removed"

// Link is a symbolic link to target.
func Link(target string) string { return "\x00link\x00" + target }

// Submodule is a submodule at a commit.
func Submodule(commit string) string { return "\x00submodule\x00" + commit }

// Commit adds a commit to a branch, which it makes where it is missing, and gives the commit.
func (r *Repo) Commit(branch string, files Files) string {
	r.t.Helper()
	ref := "refs/heads/" + branch
	parent, err := git(r.Dir, "", "rev-parse", "--quiet", "--verify", ref)
	if err != nil {
		parent = ""
	}
	return r.Set(ref, strings.TrimSpace(parent), files)
}

// Pull makes a commit on top of parent the head of a pull request.
func (r *Repo) Pull(number int, parent string, files Files) string {
	r.t.Helper()
	return r.Set(fmt.Sprintf("refs/pull/%d/head", number), parent, files)
}

// Set makes a commit on top of parent ("" = none) and forces a ref to it.
func (r *Repo) Set(ref, parent string, files Files) string {
	r.t.Helper()
	var b strings.Builder
	when := 1_700_000_000 + 60*r.clock.Add(1) // so that a test always makes the same commits
	fmt.Fprintf(&b, "feature done\ncommit %s\ncommitter Ada <ada@example.com> %d +0000\ndata 6\nchange\n", ref, when)
	if parent != "" {
		fmt.Fprintf(&b, "from %s\n", parent)
	} else {
		b.WriteString("deleteall\n")
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		writeChange(&b, name, files[name])
	}
	b.WriteString("done\n")
	if parent == "" { // else the stream would go on from where the ref is
		_, _ = git(r.Dir, "", "update-ref", "-d", ref)
	}
	if out, err := git(r.Dir, b.String(), "fast-import", "--quiet", "--force"); err != nil {
		r.t.Fatalf("git fast-import: %v\n%s", err, out)
	}
	return r.Git("rev-parse", ref)
}

func writeChange(b *strings.Builder, name, value string) {
	kind, arg, _ := strings.Cut(strings.TrimPrefix(value, "\x00"), "\x00")
	mode := "100644"
	switch {
	case value == Removed:
		fmt.Fprintf(b, "D %s\n", name)
		return
	case strings.HasPrefix(value, "\x00") && kind == "submodule":
		fmt.Fprintf(b, "M 160000 %s %s\n", arg, name)
		return
	case strings.HasPrefix(value, "\x00") && kind == "link":
		mode, value = "120000", arg
	}
	fmt.Fprintf(b, "M %s inline %s\ndata %d\n%s\n", mode, name, len(value), value)
}

// Git runs git in the repository and gives what it prints, trimmed.
func (r *Repo) Git(args ...string) string {
	r.t.Helper()
	out, err := git(r.Dir, "", args...)
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func git(dir, stdin string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), isolated()...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// isolated keeps the configuration of whoever runs the tests out of them.
func isolated() []string {
	return []string{
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com",
	}
}
