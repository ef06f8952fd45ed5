package loopback

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func showUser(c call) answer {
	if c.user.App {
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	return answer{http.StatusOK, c.server.account(c.user)}
}

func listPulls(c call) answer {
	if c.FormValue("head") != "" || (c.FormValue("sort") != "" && c.FormValue("sort") != "created") {
		return refuse(http.StatusNotImplemented, "this forge filters by base and state and sorts by creation only")
	}
	if err := c.repo.followBranches(); err != nil {
		return refuse(http.StatusInternalServerError, err.Error())
	}
	list := []object{}
	for _, p := range c.repo.pulls {
		base, state := c.FormValue("base"), c.FormValue("state")
		asked := state == "all" || p.closed == (state == "closed")
		if asked && (base == "" || base == p.base) {
			list = append(list, c.server.pull(c.repo, p))
		}
	}
	if c.FormValue("direction") != "asc" {
		slices.Reverse(list)
	}
	return answer{http.StatusOK, list}
}

func showPull(c call) answer {
	p, err := c.repo.pull(c.number("number"))
	if err != nil {
		return refuse(http.StatusNotFound, "Not Found")
	}
	return answer{http.StatusOK, c.server.wholePull(c.repo, p)}
}

func (c call) number(name string) int {
	n, err := strconv.Atoi(c.PathValue(name))
	if err != nil {
		return 0
	}
	return n
}

// most is GitHub's limit of statuses of one commit and context.
const most = 1000

func addStatus(c call) answer {
	var in struct {
		State       string  `json:"state"`
		Context     string  `json:"context"`
		Description string  `json:"description"`
		Target      *string `json:"target_url"`
	}
	if err := json.NewDecoder(c.Body).Decode(&in); err != nil {
		return refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	if in.Context == "" {
		in.Context = "default"
	}
	sha := c.PathValue("sha")
	said := 0
	for _, s := range c.repo.statuses {
		if s.Commit == sha && s.Context == in.Context {
			said++
		}
	}
	switch {
	case !slices.Contains([]string{"error", "failure", "pending", "success"}, in.State):
		return invalid("Status", "State is not included in the list")
	case utf8.RuneCountInString(in.Description) > 140:
		return invalid("Status", "description is too long (maximum is 140 characters)")
	case utf8.RuneCountInString(in.Context) > 255:
		return invalid("Status", "context is too long (maximum is 255 characters)")
	case strings.ContainsFunc(in.Description, func(r rune) bool { return r > 0xffff }):
		return invalid("Status", "description doesn't accept 4-byte Unicode")
	case !c.repo.has(sha):
		return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	case said >= most:
		return invalid("Status", "This SHA and context has reached the maximum number of statuses.")
	}
	s := Status{
		Commit: sha, Context: in.Context, State: in.State, Description: in.Description,
		Creator: *c.user, At: now(), id: c.server.id(), target: in.Target,
	}
	c.repo.statuses = append(c.repo.statuses, s)
	return answer{http.StatusCreated, c.server.status(c.repo, s)}
}

// has says whether a whole commit name is one of the repository's.
func (r *Repo) has(sha string) bool {
	if r.known[sha] || len(sha) != 40 {
		return r.known[sha]
	}
	_, err := r.run("cat-file", "-e", sha+"^{commit}")
	r.known[sha] = err == nil
	return err == nil
}

func listStatuses(c call) answer {
	list := []object{}
	for _, s := range c.repo.statusesOf(c.commit()) {
		list = append(list, c.server.status(c.repo, s))
	}
	return answer{http.StatusOK, list}
}

func combinedStatus(c call) answer {
	sha := c.commit()
	if sha == "" {
		return refuse(http.StatusNotFound, "No commit found for the ref "+c.PathValue("ref"))
	}
	state, latest := combine(c.repo.statusesOf(sha))
	list := []object{}
	for _, s := range latest {
		list = append(list, c.server.status(c.repo, s))
	}
	here := c.server.APIURL() + "repos/" + c.repo.Name + "/commits/" + sha
	return answer{http.StatusOK, object{
		"state": state, "sha": sha, "total_count": len(list), "statuses": list,
		"repository": c.server.repository(c.repo), "commit_url": here, "url": here + "/status",
	}}
}

// commit is what the ref of the path names; "" when nothing.
func (c call) commit() string {
	sha, err := c.repo.run("rev-parse", "--verify", "--quiet", "--end-of-options", c.PathValue("ref")+"^{commit}")
	if err != nil {
		return ""
	}
	return sha
}

func listComments(c call) answer {
	if _, err := c.repo.pull(c.number("number")); err != nil {
		return refuse(http.StatusNotFound, "Not Found")
	}
	list := []object{}
	for _, comment := range c.repo.commentsOf(c.number("number")) {
		list = append(list, c.server.comment(c.repo, comment))
	}
	return answer{http.StatusOK, list}
}

// words reads the body of a comment that is to be written; ok is false when GitHub would refuse it.
func (c call) words() (body string, no answer, ok bool) {
	var in struct{ Body string }
	if err := json.NewDecoder(c.Body).Decode(&in); err != nil {
		return "", refuse(http.StatusBadRequest, "Problems parsing JSON"), false
	}
	switch {
	case strings.TrimSpace(in.Body) == "":
		return "", invalid("IssueComment", "Body cannot be blank"), false
	case utf8.RuneCountInString(in.Body) > 65536:
		return "", invalid("IssueComment", "body is too long (maximum is 65536 characters)"), false
	}
	return in.Body, answer{}, true
}

func addComment(c call) answer {
	number := c.number("number")
	if _, err := c.repo.pull(number); err != nil {
		return refuse(http.StatusNotFound, "Not Found")
	}
	body, no, ok := c.words()
	if !ok {
		return no
	}
	return answer{http.StatusCreated, c.server.comment(c.repo, c.repo.addComment(number, *c.user, body))}
}

func (c call) found() *Comment {
	for i := range c.repo.comments {
		if c.repo.comments[i].ID == int64(c.number("id")) {
			return &c.repo.comments[i]
		}
	}
	return nil
}

func showComment(c call) answer {
	if comment := c.found(); comment != nil {
		return answer{http.StatusOK, c.server.comment(c.repo, *comment)}
	}
	return refuse(http.StatusNotFound, "Not Found")
}

func editComment(c call) answer {
	comment := c.found()
	if comment == nil {
		return refuse(http.StatusNotFound, "Not Found")
	}
	body, no, ok := c.words()
	switch {
	case !ok:
		return no
	case comment.Author != *c.user && c.user != c.server.owner:
		return refuse(http.StatusForbidden, "Must have admin rights to Repository.")
	}
	comment.Body, comment.Changed = body, now()
	return answer{http.StatusOK, c.server.comment(c.repo, *comment)}
}
