package git_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/source/git"
	"github.com/sluice-gitops/sluice/source/git/gittest"
)

func TestRefusesWhatItMustNotFollow(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-t0ken"
	tests := map[string]struct {
		s   *git.Source
		why string
	}{
		"no url":               {&git.Source{Branch: "main"}, "is empty"},
		"no branch":            {&git.Source{URL: "https://h/r"}, "branch"},
		"branch with dots":     {&git.Source{URL: "https://h/r", Branch: "../../config"}, "not the name of a branch"},
		"full ref":             {&git.Source{URL: "https://h/r", Branch: "refs/heads/main"}, "not the name of a branch"},
		"option":               {&git.Source{URL: "--upload-pack=touch /tmp/x", Branch: "main"}, "begins with '-'"},
		"git protocol":         {&git.Source{URL: "git://h/r", Branch: "main"}, "only https"},
		"ext transport":        {&git.Source{URL: "ext::sh -c id", Branch: "main"}, "only https"},
		"file url":             {&git.Source{URL: "file:///srv/r", Branch: "main"}, "path alone"},
		"ssh url":              {&git.Source{URL: "ssh://git@h/r", Branch: "main"}, "ssh is not supported yet"},
		"ssh by host and path": {&git.Source{URL: "git@h:r.git", Branch: "main"}, "ssh is not supported yet"},
		"plain http":           {&git.Source{URL: "http://192.0.2.1/r", Branch: "main"}, "use https"},
		"http to a lookalike":  {&git.Source{URL: "http://localhost.example.com/r", Branch: "main"}, "use https"},
		"no host":              {&git.Source{URL: "https:///r", Branch: "main"}, "no host"},
		"userinfo":             {&git.Source{URL: "https://me:" + secret + "@h/r", Branch: "main"}, "holds credentials"},
		"broken userinfo":      {&git.Source{URL: "https://me:" + secret + "@h:port/%zz", Branch: "main"}, "not a valid URL"},
		"token in the query":   {&git.Source{URL: "https://h/r?token=" + secret, Branch: "main"}, "query"},
		"two credentials":      {&git.Source{URL: "https://h/r", Branch: "main", Token: secret, Password: secret}, "keep one"},
		"no username":          {&git.Source{URL: "https://h/r", Branch: "main", Password: secret}, "x-access-token"},
		"no dir":               {&git.Source{URL: "https://h/r", Branch: "main"}, "dir"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := tt.s
			if name != "no dir" {
				s.Dir = t.TempDir()
			}
			_, err := s.Look(t.Context())
			wantErr(t, err, tt.why)
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error %q shows the credentials", err)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	head := repo.Commit("main", gittest.Files{"a": "1"})
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:pa55word"))
	tests := map[string]struct {
		header string
		s      *git.Source
		ok     bool
	}{
		"basic":          {basic, &git.Source{Username: "ada", Password: "pa55word"}, true},
		"bearer":         {"Bearer t0ken", &git.Source{Token: "t0ken"}, true},
		"wrong password": {basic, &git.Source{Username: "ada", Password: "not-th1s"}, false},
		"wrong token":    {"Bearer t0ken", &git.Source{Token: "not-th1s"}, false},
		"none":           {basic, &git.Source{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			srv.Authorize(tt.header)
			s := tt.s
			s.URL, s.Branch, s.Dir = repo.URL, "main", t.TempDir()
			seen, err := s.Look(t.Context())
			if tt.ok {
				if err != nil || seen.Head.Commit != head {
					t.Fatalf("head %q, %v", seen.Head.Commit, err)
				}
				return
			}
			wantErr(t, err, "401", repo.URL)
			if strings.Contains(err.Error(), "not-th1s") { // which this server repeats in its answer
				t.Errorf("error %q shows the credentials", err)
			}
		})
	}
}

func TestServersWordsAreMasked(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	srv.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		line := "ERR you are " + r.Header.Get("Authorization") + "\x1b[31m"
		fmt.Fprintf(w, "001e# service=git-upload-pack\n0000%04x%s\n0000", len(line)+5, line)
		return true
	})
	s := follow(t, repo.URL)
	s.Token = "t0p-s3cret"
	_, err := s.Look(t.Context())
	wantErr(t, err, repo.URL)
	if strings.Contains(err.Error(), s.Token) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("error %q repeats what the server says", err)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	srv, other := gittest.New(t), gittest.New(t)
	repo := srv.Repo("fleet.git")
	head := repo.Commit("main", gittest.Files{"a": "1"})
	other.Repo("fleet.git").Commit("main", gittest.Files{"a": "evil"})
	leaked := false
	other.Fault(func(_ http.ResponseWriter, r *http.Request) bool {
		leaked = leaked || r.Header.Get("Authorization") != ""
		return false
	})
	to := func(base string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, "/moved.git/") {
				return false
			}
			http.Redirect(w, r, base+strings.Replace(r.URL.RequestURI(), "/moved.git", "/fleet.git", 1), http.StatusMovedPermanently)
			return true
		}
	}
	s := follow(t, srv.URL+"/moved.git")
	s.Token = "t0ken"
	srv.Fault(to(other.URL))
	password := follow(t, srv.URL+"/moved.git")
	password.Username, password.Password = "ada", "pa55word"
	for _, s := range []*git.Source{s, password} {
		_, err := s.Look(t.Context())
		wantErr(t, err, "redirects to host", "set the source url")
		if leaked || len(other.Requests()) > 0 {
			t.Errorf("the other host was asked (with credentials: %v)", leaked)
		}
	}
	srv.Fault(to(srv.URL))
	if got, _ := look(t, s); got != head {
		t.Errorf("head %s after a redirect within the host, want %s", got, head)
	}
}

// carrier answers in the place of the network.
type carrier func(*http.Request) *http.Response

func (c carrier) RoundTrip(r *http.Request) (*http.Response, error) { return c(r), nil }

// On the way from https to plain http of the same host credentials would be shown to everybody.
func TestARedirectKeepsTLS(t *testing.T) {
	t.Parallel()
	var asked []string
	s := follow(t, "https://git.example.com/fleet.git")
	s.Token = "t0ken"
	s.Transport = carrier(func(r *http.Request) *http.Response {
		asked = append(asked, r.URL.Scheme)
		to := "http" + strings.TrimPrefix(r.URL.String(), "https")
		return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {to}}, Body: http.NoBody, Request: r}
	})
	_, err := s.Look(t.Context())
	wantErr(t, err, "redirect", `from "https" to "http"`)
	if len(asked) != 1 {
		t.Errorf("asked by %q", asked)
	}
}

func TestLimitsOfOneFetch(t *testing.T) {
	t.Parallel()
	srv := gittest.New(t)
	repo := srv.Repo("fleet.git")
	first := repo.Commit("main", gittest.Files{"a": "1"})
	s := follow(t, repo.URL)
	s.Limits.Pack, s.Limits.Object, s.Limits.Unpacked = 20_000, 100_000, 150_000
	look(t, s)
	noise := []byte(strings.Repeat("x", 30_000))
	for i, state := 0, uint32(1); i < len(noise); i++ {
		state = state*1664525 + 1013904223
		noise[i] = byte('0' + state>>24%64)
	}
	for name, tt := range map[string]struct {
		files gittest.Files
		why   string
	}{
		"bytes received":   {gittest.Files{"noise": string(noise)}, "larger than 20000 bytes"},
		"a bomb of a file": {gittest.Files{"zeros": strings.Repeat("0", 200_000)}, "200000 bytes, more than 100000"},
		"many small bombs": {gittest.Files{"1": strings.Repeat("1", 90_000), "2": strings.Repeat("2", 90_000)}, "unpacks to more than 150000"},
	} {
		t.Run(name, func(t *testing.T) {
			repo.Set("refs/heads/main", first, tt.files)
			seen, err := s.Look(t.Context())
			wantErr(t, err, tt.why, repo.URL)
			if seen.Head.Commit != first {
				t.Errorf("head %s with the error, want the last good one", seen.Head.Commit)
			}
		})
	}
	repo.Set("refs/heads/main", first, gittest.Files{"a": "2"})
	look(t, s)
	if list := packs(t, s); len(list) != 2 {
		t.Errorf("packs %q, want the two that were within the limits", list)
	}
}
