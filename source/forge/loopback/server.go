// Package loopback is a small forge on the loopback address: real Git over HTTP, and GitHub's
// API for the few operations that Sluice uses. It tells the demo's story and serves the tests.
// Its state lives in memory, its repositories in a folder.
package loopback

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Server is a running forge. All methods may be called at any time, also while it serves.
type Server struct {
	dir, git string
	address  string
	http     *http.Server
	wrap     func(http.Handler) http.Handler

	mu       sync.Mutex
	lastID   int64
	owner    *User            // whoever shows no other user's token
	users    map[string]*User // by token
	locked   bool
	repos    map[string]*Repo
	teams    map[string][]string // ORG/TEAM -> logins
	requests map[string]int
	fail     func(*http.Request) (int, bool)
	primary  time.Time
	wait     time.Duration
}

// User is an account. App is an app's installation, which may not ask who it is.
type User struct {
	ID    int64
	Login string
	App   bool
}

// Option changes a Server before it listens.
type Option func(*Server)

// Wrapped puts a handler around the API (not around Git), such as one that checks each answer.
func Wrapped(wrap func(http.Handler) http.Handler) Option {
	return func(s *Server) { s.wrap = wrap }
}

// Start listens on a free port of 127.0.0.1 and keeps bare repositories below dir, at
// OWNER/NAME.git. It needs the git binary.
func Start(dir string, options ...Option) (*Server, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("start forge: %w", err)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("start forge in %q: %w", dir, err)
	}
	s := &Server{
		dir: dir, git: git, lastID: 1,
		owner:    &User{ID: 1, Login: "sluice"},
		users:    map[string]*User{},
		repos:    map[string]*Repo{},
		requests: map[string]int{},
		wrap:     func(h http.Handler) http.Handler { return h },
	}
	for _, option := range options {
		option(s)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start forge: %w", err)
	}
	s.address = listener.Addr().String()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go s.http.Serve(listener) // ends when Close closes the listener
	return s, nil
}

// Close stops listening and drops the open connections. The repositories stay on disk.
func (s *Server) Close() error { return s.http.Close() }

// URL is the address of the forge, without a slash at its end.
func (s *Server) URL() string { return "http://" + s.address }

// APIURL is the base of the API, with a slash at its end as GitHub's clients want it.
func (s *Server) APIURL() string { return s.URL() + "/api/v3/" }

// CloneURL is where git finds a repository named OWNER/NAME.
func (s *Server) CloneURL(repo string) string { return s.URL() + "/" + repo + ".git" }

// ServeHTTP answers the API below /api/v3/ and Git at every other path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/v3/") {
		http.StripPrefix("/api/v3", s.wrap(http.HandlerFunc(s.serveAPI))).ServeHTTP(w, r)
		return
	}
	s.serveGit(w, r)
}

var repoName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// Create makes an empty repository OWNER/NAME whose branch is main. A folder that is there
// already is taken as it is.
func (s *Server) Create(name string) (*Repo, error) {
	if !repoName.MatchString(name) || strings.HasSuffix(name, ".git") {
		return nil, fmt.Errorf("create repository %q: the name is not OWNER/NAME", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.repos[name] != nil {
		return nil, fmt.Errorf("create repository %q: it is there already", name)
	}
	repo := &Repo{server: s, Name: name, Branch: "main", dir: filepath.Join(s.dir, filepath.FromSlash(name)+".git"), id: s.id(), born: now(), known: map[string]bool{}}
	if _, err := repo.run("init", "--quiet", "--bare", "--initial-branch="+repo.Branch, repo.dir); err != nil {
		return nil, fmt.Errorf("create repository %q: %w", name, err)
	}
	for key, value := range map[string]string{
		"http.receivepack":              "true",
		"uploadpack.allowAnySHA1InWant": "true",
		"receive.hideRefs":              "refs/pull", // the forge's own, as on GitHub
	} {
		if _, err := repo.run("config", key, value); err != nil {
			return nil, fmt.Errorf("create repository %q: %w", name, err)
		}
	}
	s.repos[name] = repo
	return repo, nil
}

// Delete removes a repository. Pull requests that came from it stay, with no repository at their head.
func (s *Server) Delete(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repos[name]
	if repo == nil {
		return fmt.Errorf("delete repository %q: there is none", name)
	}
	delete(s.repos, name)
	if err := os.RemoveAll(repo.dir); err != nil {
		return fmt.Errorf("delete repository %q: %w", name, err)
	}
	return nil
}

// AddUser makes an account that acts with this token.
func (s *Server) AddUser(login, token string) User { return s.addUser(login, token, false) }

// AddApp makes an app's installation, known as NAME[bot], that acts with this token.
func (s *Server) AddApp(name, token string) User { return s.addUser(name+"[bot]", token, true) }

func (s *Server) addUser(login, token string, app bool) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := &User{ID: s.id(), Login: login, App: app}
	s.users[token] = user
	return *user
}

// RequireToken refuses, from now on, whoever shows neither this token nor a user's, at the API
// and at Git (where it is the password; any user name will do). It acts as the forge's own account.
func (s *Server) RequireToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[token], s.locked = s.owner, true
}

// who is the account that a request acts as; nil when it must not act at all.
func (s *Server) who(r *http.Request) *User {
	_, token, basic := r.BasicAuth()
	if scheme, word, _ := strings.Cut(r.Header.Get("Authorization"), " "); !basic && (strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token")) {
		token = word
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if user := s.users[token]; user != nil && token != "" {
		return user
	}
	if s.locked {
		return nil
	}
	return s.owner
}

// Requests counts what was asked of the API, by "METHOD /path/{pattern}", failures included,
// and under "git" what was asked of Git.
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

// Writes is the number of requests to the API so far that would change something.
func (s *Server) Writes() int {
	sum := 0
	for what, n := range s.Requests() {
		if what != "git" && !strings.HasPrefix(what, "GET ") {
			sum += n
		}
	}
	return sum
}

// Fail makes the API answer with a status instead of doing what it is asked, wherever f says so.
// The request's path has no /api/v3. nil ends it.
func (s *Server) Fail(f func(*http.Request) (status int, ok bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// LimitUntil makes the API answer as if the hour's requests were used up until t. The zero time ends it.
func (s *Server) LimitUntil(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.primary = t
}

// LimitWrites makes the API refuse as GitHub does where somebody writes too fast, asking to
// wait. 0 ends it.
func (s *Server) LimitWrites(wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wait = wait
}

// id is the next number; the caller holds the lock.
func (s *Server) id() int64 {
	s.lastID++
	return s.lastID
}

// now is as exact as the API can say it.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

var errNoPull = errors.New("there is no such pull request")
