package loopback

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object. The functions below fill in every field that GitHub's description
// requires, so that a client which relies on one finds it.
type object map[string]any

// links adds a link for each name, all to the same place: nobody follows them here.
func (o object) links(to, names string) object {
	for name := range strings.FieldsSeq(names) {
		o[name] = to
	}
	return o
}

// nothing adds a null for each name.
func (o object) nothing(names string) object {
	for name := range strings.FieldsSeq(names) {
		o[name] = nil
	}
	return o
}

func (o object) zero(names string) object {
	for name := range strings.FieldsSeq(names) {
		o[name] = 0
	}
	return o
}

func (o object) no(names string) object {
	for name := range strings.FieldsSeq(names) {
		o[name] = false
	}
	return o
}

func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Format(time.RFC3339)
}

func node(kind string, id int64) string { return kind + "_" + strconv.FormatInt(id, 10) }

func (s *Server) user(u *User) object {
	kind := "User"
	if u.App {
		kind = "Bot"
	}
	o := object{"login": u.Login, "id": u.ID, "node_id": node("U", u.ID), "gravatar_id": "", "type": kind, "site_admin": false}
	return o.links(s.URL()+"/"+u.Login, `avatar_url events_url followers_url following_url gists_url html_url
		organizations_url received_events_url repos_url starred_url subscriptions_url url`)
}

// account is a user as that user sees it.
func (s *Server) account(u *User) object {
	o := s.user(u)
	o["user_view_type"], o["blog"], o["created_at"], o["updated_at"] = "private", "", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
	o.nothing("bio company email hireable location name").no("two_factor_authentication")
	return o.zero(`followers following public_gists public_repos collaborators disk_usage owned_private_repos
		private_gists total_private_repos`)
}

func (s *Server) repository(r *Repo) object {
	owner, name, _ := strings.Cut(r.Name, "/")
	o := object{
		"id": r.id, "node_id": node("R", r.id), "name": name, "full_name": r.Name, "default_branch": r.Branch,
		"owner": s.user(&User{ID: 1, Login: owner}), "topics": []string{}, "visibility": "public",
	}
	o.links(s.APIURL()+"repos/"+r.Name, `archive_url assignees_url blobs_url branches_url collaborators_url comments_url
		commits_url compare_url contents_url contributors_url deployments_url downloads_url events_url forks_url
		git_commits_url git_refs_url git_tags_url hooks_url issue_comment_url issue_events_url issues_url keys_url
		labels_url languages_url merges_url milestones_url notifications_url pulls_url releases_url stargazers_url
		statuses_url subscribers_url subscription_url tags_url teams_url trees_url url`)
	o.links(s.CloneURL(r.Name), "html_url clone_url git_url ssh_url svn_url")
	o.nothing("description homepage language license mirror_url")
	o.no("private fork archived disabled has_downloads has_issues has_projects has_wiki has_pages")
	o.zero("forks forks_count open_issues open_issues_count size stargazers_count watchers watchers_count")
	o["created_at"], o["updated_at"], o["pushed_at"] = stamp(r.born), stamp(r.born), stamp(r.born)
	return o
}

// pull is a pull request as it stands in a list.
func (s *Server) pull(r *Repo, p *pull) object {
	end := func(from *Repo, ref, sha string) object {
		owner, _, _ := strings.Cut(from.Name, "/")
		o := object{"label": owner + ":" + ref, "ref": ref, "sha": sha, "repo": nil, "user": s.user(&User{ID: 1, Login: owner})}
		if s.repos[from.Name] == from {
			o["repo"] = s.repository(from)
		}
		return o
	}
	state, merged := "open", time.Time{}
	if p.closed {
		state = "closed"
	}
	if p.merge != "" {
		merged = p.ended
	}
	here := fmt.Sprintf("%srepos/%s/pulls/%d", s.APIURL(), r.Name, p.number)
	o := object{
		"id": p.id, "node_id": node("PR", p.id), "number": p.number, "title": p.title, "state": state, "draft": p.draft,
		"locked": false, "user": s.user(p.author), "author_association": "MEMBER", "labels": []object{},
		"head": end(p.from, p.branch, p.head), "base": end(r, p.base, p.baseHead),
		"created_at": stamp(p.opened), "updated_at": stamp(p.opened), "closed_at": stamp(p.ended), "merged_at": stamp(merged),
	}
	o.nothing("assignee auto_merge body merge_commit_sha milestone")
	if p.merge != "" {
		o["merge_commit_sha"] = p.merge
	}
	ends := object{}
	for name := range strings.FieldsSeq("comments commits statuses html issue review_comments review_comment self") {
		ends[name] = object{"href": here}
	}
	o["_links"] = ends
	return o.links(here, `comments_url commits_url diff_url html_url issue_url patch_url review_comment_url
		review_comments_url statuses_url url`)
}

// wholePull is a pull request as it stands alone.
func (s *Server) wholePull(r *Repo, p *pull) object {
	o := s.pull(r, p)
	o.zero("additions changed_files commits deletions review_comments").nothing("mergeable merged_by").no("maintainer_can_modify")
	o["comments"], o["merged"], o["mergeable_state"] = len(r.commentsOf(p.number)), p.merge != "", "unknown"
	return o
}

func (s *Server) status(r *Repo, in Status) object {
	o := object{
		"id": in.id, "node_id": node("SC", in.id), "state": in.State, "context": in.Context, "description": in.Description,
		"target_url": in.target, "creator": s.user(&in.Creator), "created_at": stamp(in.At), "updated_at": stamp(in.At),
	}
	return o.links(s.APIURL()+"repos/"+r.Name+"/statuses/"+in.Commit, "url avatar_url")
}

func (s *Server) comment(r *Repo, c Comment) object {
	here := s.APIURL() + "repos/" + r.Name + "/issues/"
	return object{
		"id": c.ID, "node_id": node("IC", c.ID), "body": c.Body, "user": s.user(&c.Author), "author_association": "MEMBER",
		"created_at": stamp(c.At), "updated_at": stamp(c.Changed), "performed_via_github_app": nil,
		"url": here + "comments/" + strconv.FormatInt(c.ID, 10), "html_url": here + "comments/" + strconv.FormatInt(c.ID, 10),
		"issue_url": here + strconv.Itoa(c.Pull),
	}
}
