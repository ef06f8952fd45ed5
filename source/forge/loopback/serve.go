package loopback

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// call is one request to the API, its account and its repository known. The lock is held.
type call struct {
	*http.Request
	server *Server
	user   *User
	repo   *Repo // nil outside a repository
}

// answer is what a route says. Of a list only the page that was asked for is sent.
type answer struct {
	status int
	body   any
}

type route struct {
	pattern string // METHOD /path/{name}
	serve   func(call) answer
}

// The first route that fits is taken.
func routes() []route {
	return []route{
		{"GET /user", showUser},
		{"GET /repos/{owner}/{repo}/pulls", listPulls},
		{"GET /repos/{owner}/{repo}/pulls/{number}", showPull},
		{"GET /repos/{owner}/{repo}/pulls/{number}/reviews", listReviews},
		{"GET /repos/{owner}/{repo}/commits/{ref}/pulls", listPullsOf},
		{"GET /orgs/{org}/teams/{team}/memberships/{user}", showMember},
		{"POST /repos/{owner}/{repo}/statuses/{sha}", addStatus},
		{"GET /repos/{owner}/{repo}/commits/{ref}/statuses", listStatuses},
		{"GET /repos/{owner}/{repo}/commits/{ref}/status", combinedStatus},
		{"GET /repos/{owner}/{repo}/issues/comments/{id}", showComment},
		{"PATCH /repos/{owner}/{repo}/issues/comments/{id}", editComment},
		{"GET /repos/{owner}/{repo}/issues/{number}/comments", listComments},
		{"POST /repos/{owner}/{repo}/issues/{number}/comments", addComment},
	}
}

// choose finds the route of a request and gives it the values of the path.
func choose(r *http.Request) (found route, ok bool) {
	path := strings.Split(r.URL.EscapedPath(), "/")
	for _, route := range routes() {
		method, pattern, _ := strings.Cut(route.pattern, " ")
		names := strings.Split(pattern, "/")
		if method == r.Method && len(names) == len(path) && fits(names, path) {
			for i, name := range names {
				if value, err := url.PathUnescape(path[i]); err == nil && strings.HasPrefix(name, "{") {
					r.SetPathValue(strings.Trim(name, "{}"), value)
				}
			}
			return route, true
		}
	}
	return route{pattern: "unknown"}, false
}

func fits(names, path []string) bool {
	for i, name := range names {
		if !strings.HasPrefix(name, "{") && name != path[i] {
			return false
		}
	}
	return true
}

// serveAPI answers one request; the path begins below /api/v3.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	route, ok := choose(r)
	s.mu.Lock()
	s.requests[route.pattern]++
	fail, primary, wait := s.fail, s.primary, s.wait
	s.mu.Unlock()
	if fail != nil {
		if status, ok := fail(r); ok {
			send(w, refuse(status, http.StatusText(status)))
			return
		}
	}
	switch {
	case s.limited(w, r, primary, wait):
	case !ok:
		send(w, refuse(http.StatusNotFound, "Not Found"))
	default:
		s.serveRoute(w, r, route.serve)
	}
}

// limited tells of the hour's requests, and refuses the request where they are used up.
func (s *Server) limited(w http.ResponseWriter, r *http.Request, primary time.Time, wait time.Duration) bool {
	remaining, reset := "4999", time.Now().Add(time.Hour)
	empty := time.Now().Before(primary)
	if empty {
		remaining, reset = "0", primary
	}
	h := w.Header()
	h.Set("X-RateLimit-Limit", "5000")
	h.Set("X-RateLimit-Remaining", remaining)
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	switch {
	case empty:
		send(w, refuse(http.StatusForbidden, "API rate limit exceeded for user ID 1."))
	case wait > 0 && r.Method != http.MethodGet:
		h.Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
		send(w, answer{http.StatusForbidden, object{
			"message":           "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
			"documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
		}})
	default:
		return false
	}
	return true
}

func (s *Server) serveRoute(w http.ResponseWriter, r *http.Request, route func(call) answer) {
	user := s.who(r)
	if user == nil {
		send(w, refuse(http.StatusUnauthorized, "Bad credentials"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := call{r, s, user, s.repos[r.PathValue("owner")+"/"+r.PathValue("repo")]}
	if c.repo == nil && r.PathValue("repo") != "" {
		send(w, refuse(http.StatusNotFound, "Not Found"))
		return
	}
	a := route(c)
	if list, ok := a.body.([]object); ok {
		a.body = page(w, c, list)
	}
	send(w, a)
}

// page cuts the page out of a list and says where the next one is.
func page(w http.ResponseWriter, c call, list []object) []object {
	number := func(key string, otherwise, most int) int {
		n, err := strconv.Atoi(c.FormValue(key))
		if err != nil || n < 1 {
			n = otherwise
		}
		return min(n, most)
	}
	size, this := number("per_page", 30, 100), number("page", 1, 1<<20)
	from, to := min((this-1)*size, len(list)), min(this*size, len(list))
	if to < len(list) {
		query := c.URL.Query()
		query.Set("page", strconv.Itoa(this+1))
		next := url.URL{Path: strings.TrimPrefix(c.URL.Path, "/"), RawQuery: query.Encode()}
		w.Header().Set("Link", fmt.Sprintf(`<%s%s>; rel="next"`, c.server.APIURL(), next.String()))
	}
	return append([]object{}, list[from:to]...) // an empty list is [], never null
}

func send(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body) // a client that went away needs no answer
}

func refuse(status int, message string) answer {
	return answer{status, object{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)}}
}

func invalid(resource, message string) answer {
	return answer{http.StatusUnprocessableEntity, object{
		"message": "Validation Failed", "documentation_url": "https://docs.github.com/rest",
		"errors": []object{{"resource": resource, "code": "custom", "message": message}},
	}}
}
