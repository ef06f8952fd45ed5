package git

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// dial makes the remote of this Source from its fields, or says which of them is wrong. Its
// errors never repeat a URL before that is known to hold no credentials.
func (s *Source) dial() (remote, error) {
	if s.Branch == "" {
		return nil, errors.New("source branch: is empty; name the branch to follow, such as main")
	}
	if err := plumbing.NewBranchReferenceName(s.Branch).Validate(); err != nil || strings.HasPrefix(s.Branch, "refs/") {
		return nil, fmt.Errorf("source branch %q: is not the name of a branch; write it as git branch shows it", s.Branch)
	}
	auth, err := s.auth()
	if err != nil {
		return nil, err
	}
	scheme, _, isURL := strings.Cut(s.URL, "://")
	switch {
	case s.URL == "":
		return nil, errors.New("source url: is empty; give an https URL or the path of a local repository")
	case strings.HasPrefix(s.URL, "-"):
		return nil, errors.New("source url: begins with '-'; give an https URL, or write a local path as ./-name")
	case isURL && (scheme == "https" || scheme == "http"):
		u, err := checkURL(s.URL)
		if err != nil {
			return nil, err
		}
		return newHTTPRemote(u, auth, s.Transport, s.Limits.withDefaults()), nil
	case isURL && scheme == "ssh", !isURL && looksLikeSSH(s.URL):
		return nil, errors.New("source url: ssh is not supported yet; use the https URL of the repository with a token (a local path with a colon begins with ./ or /)")
	case isURL && scheme == "file":
		return nil, errors.New("source url: file:// is not followed; write the path alone")
	case isURL || strings.Contains(s.URL, "::"):
		return nil, errors.New("source url: only https is followed, http on loopback, and local paths; use the https URL of the repository")
	}
	path, err := filepath.Abs(s.URL)
	if err != nil {
		return nil, fmt.Errorf("resolve source url %q: %w", s.URL, err)
	}
	return &localRemote{path: path}, nil
}

// auth is nil without credentials. The type is go-git's, so that its own rule drops the header
// when a redirect leaves the origin.
func (s *Source) auth() (githttp.AuthMethod, error) {
	switch {
	case s.Token != "" && (s.Username != "" || s.Password != ""):
		return nil, errors.New("source credentials: both a token and a username or password are set; keep one")
	case s.Token != "":
		return &githttp.TokenAuth{Token: s.Token}, nil
	case s.Username == "" && s.Password != "":
		return nil, errors.New("source credentials: a password without a username; for an access token of GitHub the username is x-access-token")
	case s.Username != "":
		return &githttp.BasicAuth{Username: s.Username, Password: s.Password}, nil
	}
	return nil, nil
}

func checkURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil: // the parser's own words repeat the URL, credentials and all
		return nil, errors.New("source url: is not a valid URL; write https://host/path/of/repository")
	case u.User != nil:
		return nil, errors.New("source url: holds credentials, which logs and statuses would repeat; put them into the credentials of the source")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, errors.New("source url: has a query or a fragment; write https://host/path/of/repository alone")
	case u.Hostname() == "":
		return nil, errors.New("source url: names no host; write https://host/path/of/repository")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("source url %q: plain http would show credentials and let anybody change the fleet; use https", raw)
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// looksLikeSSH finds host:path, which git takes as ssh: a colon before the first slash.
func looksLikeSSH(raw string) bool {
	first, _, _ := strings.Cut(raw, "/")
	return strings.Contains(first, ":") && !strings.Contains(first, "::")
}

// sameHost refuses a redirect that leaves the host: whoever answers there was not chosen by the
// operator, and would be believed about the whole fleet. That it leaves TLS go-git refuses.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) > 0 && req.URL.Host != via[0].URL.Host {
		return fmt.Errorf("the remote redirects to host %q; if that is right, set the source url to it", req.URL.Host)
	}
	return nil
}
