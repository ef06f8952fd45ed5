package loopback

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// hermetic keeps the settings of whoever runs the forge out of its repositories. GIT_DIR and its
// like would point git at another repository, where a hook runs us.
func hermetic() []string {
	env := []string{
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=sluice", "GIT_AUTHOR_EMAIL=sluice@localhost",
		"GIT_COMMITTER_NAME=sluice", "GIT_COMMITTER_EMAIL=sluice@localhost",
	}
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "GIT_") {
			env = append(env, pair)
		}
	}
	return env
}

// run runs git in the repository and returns what it prints, without the last line end.
func (r *Repo) run(args ...string) (string, error) { return r.feed("", args...) }

// feed is run with something to read.
func (r *Repo) feed(in string, args ...string) (string, error) {
	if args[0] != "init" {
		args = append([]string{"--git-dir=" + r.dir}, args...)
	}
	cmd := exec.Command(r.server.git, args...)
	cmd.Env = hermetic()
	cmd.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		why := strings.TrimSpace(errs.String() + out.String()) // merge-tree tells of conflicts on stdout
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, why)
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// Commit writes files on a branch, without a clone; contents "" remove the file. A branch that is
// not there begins at the default branch, or empty in an empty repository.
func (r *Repo) Commit(branch, message string, files map[string]string) (commit string, err error) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	heads, err := r.heads()
	if err != nil {
		return "", fmt.Errorf("commit to %q: %w", branch, err)
	}
	ref := "refs/heads/" + branch
	var in strings.Builder
	fmt.Fprintf(&in, "commit %s\ncommitter sluice <sluice@localhost> %d +0000\ndata %d\n%s\n", ref, time.Now().Unix(), len(message), message)
	if from := cmp.Or(heads[ref], heads["refs/heads/"+r.Branch]); from != "" {
		fmt.Fprintf(&in, "from %s\n", from)
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if contents := files[path]; contents == "" {
			fmt.Fprintf(&in, "D %q\n", path)
		} else {
			fmt.Fprintf(&in, "M 100644 inline %q\ndata %d\n%s\n", path, len(contents), contents)
		}
	}
	if _, err := r.feed(in.String(), "fast-import", "--quiet"); err != nil {
		return "", fmt.Errorf("commit to %q: %w", branch, err)
	}
	return r.run("rev-parse", "--verify", ref)
}

// move makes tip, a commit of the branch that the pull request comes from, its head: also as
// refs/pull/N/head.
func (r *Repo) move(p *pull, tip string) error {
	ref := fmt.Sprintf("refs/pull/%d/head", p.number)
	args := []string{"update-ref", ref, tip}
	if p.from != r {
		args = []string{"fetch", "--quiet", "--no-write-fetch-head", p.from.dir, "+" + tip + ":" + ref}
	}
	if _, err := r.run(args...); err != nil {
		return err
	}
	p.head = tip
	return nil
}

// followBranches brings every open pull request to the tip of its branch, whichever way that was
// pushed, and closes those whose branch is gone. The caller holds the lock.
func (r *Repo) followBranches() error {
	tips := map[string]map[string]string{} // repository -> ref -> commit
	for _, p := range r.pulls {
		if p.closed || r.server.repos[p.from.Name] != p.from {
			continue // of a fork that was deleted the last head stays
		}
		if tips[p.from.Name] == nil {
			refs, err := p.from.heads()
			if err != nil {
				return err
			}
			tips[p.from.Name] = refs
		}
		switch tip := tips[p.from.Name]["refs/heads/"+p.branch]; tip {
		case p.head:
		case "":
			p.closed, p.ended = true, now()
		default:
			if err := r.move(p, tip); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Repo) heads() (map[string]string, error) {
	out, err := r.run("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		commit, ref, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[ref] = commit
	}
	return refs, nil
}

// follow does followBranches where no answer waits for its error: the next look at the pull
// requests shows it.
func (s *Server) follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, repo := range s.repos { // a push to a fork moves pull requests elsewhere
		_ = repo.followBranches()
	}
}

// serveGit hands a request to git's own server.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	path, _, found := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".git/")
	s.mu.Lock()
	s.requests["git"]++
	repo := s.repos[path]
	s.mu.Unlock()
	if !found || repo == nil {
		http.NotFound(w, r)
		return
	}
	user := s.who(r)
	if user == nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
		http.Error(w, "a token is needed, as password", http.StatusUnauthorized)
		return
	}
	// CGI has no way to hand on a body of unknown length, and git sends big packs that way.
	if r.ContentLength < 0 {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 256<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	s.follow()
	backend := cgi.Handler{
		Path: s.git, Args: []string{"http-backend"}, Dir: s.dir,
		Env:    append(hermetic(), "GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER="+user.Login),
		Logger: log.New(io.Discard, "", 0), Stderr: io.Discard,
	}
	backend.ServeHTTP(w, r)
	s.follow()
}
