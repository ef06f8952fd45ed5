package loopback

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// review is one person's word on a pull request, as its head was then.
type review struct {
	id     int64
	author User
	state  string // APPROVED, CHANGES_REQUESTED, COMMENTED or DISMISSED
	commit string
	at     time.Time
}

// Review says a word on a pull request in the name of a user: APPROVED, CHANGES_REQUESTED,
// COMMENTED or DISMISSED.
func (r *Repo) Review(number int, author User, state string) error {
	return r.change(number, "review", func(p *pull) error {
		p.reviews = append(p.reviews, review{r.server.id(), author, state, p.head, now()})
		return nil
	})
}

// AddMember makes a user a member of a team, ORG/TEAM.
func (s *Server) AddMember(team string, user User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.teams == nil {
		s.teams = map[string][]string{}
	}
	s.teams[team] = append(s.teams[team], user.Login)
}

func listReviews(c call) answer {
	p, err := c.repo.pull(c.number("number"))
	if err != nil {
		return refuse(http.StatusNotFound, "Not Found")
	}
	list := []object{}
	for _, v := range p.reviews {
		here := fmt.Sprintf("%srepos/%s/pulls/%d", c.server.APIURL(), c.repo.Name, p.number)
		list = append(list, object{
			"id": v.id, "node_id": node("PRR", v.id), "user": c.server.user(&v.author), "body": "", "state": v.state,
			"commit_id": v.commit, "html_url": here, "pull_request_url": here, "author_association": "MEMBER", "submitted_at": stamp(v.at),
			"_links": object{"html": object{"href": here}, "pull_request": object{"href": here}},
		})
	}
	return answer{http.StatusOK, list}
}

// listPullsOf lists the pull requests that a commit belongs to: those that it merged, and those
// that it is the head of.
func listPullsOf(c call) answer {
	sha := c.commit()
	if sha == "" {
		return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.PathValue("ref"))
	}
	if err := c.repo.followBranches(); err != nil {
		return refuse(http.StatusInternalServerError, err.Error())
	}
	list := []object{}
	for _, p := range c.repo.pulls {
		if p.merge == sha || p.head == sha {
			list = append(list, c.server.pull(c.repo, p))
		}
	}
	return answer{http.StatusOK, list}
}

func showMember(c call) answer {
	members := c.server.teams[c.PathValue("org")+"/"+c.PathValue("team")]
	login := c.PathValue("user")
	if !slices.ContainsFunc(members, func(m string) bool { return strings.EqualFold(m, login) }) {
		return refuse(http.StatusNotFound, "Not Found")
	}
	return answer{http.StatusOK, object{"role": "member", "state": "active", "url": c.server.APIURL() + strings.TrimPrefix(c.URL.Path, "/")}}
}
