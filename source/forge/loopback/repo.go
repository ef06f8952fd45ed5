package loopback

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Repo is one repository and what people said in it.
type Repo struct {
	Name   string // OWNER/NAME
	Branch string // the default branch

	server   *Server
	dir      string
	id       int64
	born     time.Time
	pulls    []*pull // by number, from 1
	statuses []Status
	comments []Comment
	known    map[string]bool // commits that were asked for and are there
}

// pull is a pull request; its head and the state of its branch follow the branch.
type pull struct {
	id             int64
	number         int
	title, branch  string
	base, baseHead string
	from           *Repo
	author         *User
	head, merge    string
	draft, closed  bool
	opened, ended  time.Time
	reviews        []review // the oldest first
}

// Status is one word on a commit.
type Status struct {
	Commit, Context    string
	State, Description string
	Creator            User
	At                 time.Time

	id     int64
	target *string
}

// Comment is one comment on a pull request.
type Comment struct {
	ID      int64
	Pull    int
	Author  User
	Body    string
	At      time.Time
	Changed time.Time
}

// Pull is what a pull request looks like now.
type Pull struct {
	Number       int
	Title, Head  string // Head is a commit
	Open, Merged bool
}

// Open asks to merge a branch of this repository into its default branch.
func (r *Repo) Open(title, branch string) (int, error) { return r.OpenFrom(r, title, branch) }

// OpenFrom asks to merge a branch of a fork. The number is that of the pull request.
func (r *Repo) OpenFrom(fork *Repo, title, branch string) (int, error) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	bases, err := r.heads()
	if err != nil {
		return 0, fmt.Errorf("open pull request of %q: %w", branch, err)
	}
	tips, err := fork.heads()
	if err != nil {
		return 0, fmt.Errorf("open pull request of %q: %w", branch, err)
	}
	base, tip := bases["refs/heads/"+r.Branch], tips["refs/heads/"+branch]
	if base == "" || tip == "" {
		return 0, fmt.Errorf("open pull request of %q: %s has no such branch, or %s has no branch %q", branch, fork.Name, r.Name, r.Branch)
	}
	p := &pull{
		id: r.server.id(), number: len(r.pulls) + 1, title: title, branch: branch, base: r.Branch,
		baseHead: base, from: fork, author: r.server.owner, opened: now(),
	}
	if err := r.move(p, tip); err != nil {
		return 0, fmt.Errorf("open pull request of %q: %w", branch, err)
	}
	r.pulls = append(r.pulls, p)
	return p.number, nil
}

// Pull looks at a pull request.
func (r *Repo) Pull(number int) (Pull, error) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	p, err := r.pull(number)
	if err != nil {
		return Pull{}, fmt.Errorf("look at pull request %d: %w", number, err)
	}
	return Pull{Number: p.number, Title: p.title, Head: p.head, Open: !p.closed, Merged: p.merge != ""}, nil
}

// SetDraft says whether a pull request is one.
func (r *Repo) SetDraft(number int, draft bool) error {
	return r.change(number, "set draft of", func(p *pull) error { p.draft = draft; return nil })
}

// Close ends a pull request without a merge.
func (r *Repo) Close(number int) error {
	return r.change(number, "close", func(p *pull) error { p.closed, p.ended = true, now(); return nil })
}

// Merge makes the merge commit, moves the branch to it and ends the pull request. A conflict is
// an error and changes nothing.
func (r *Repo) Merge(number int) (commit string, err error) {
	err = r.change(number, "merge", func(p *pull) error {
		if p.closed {
			return errors.New("it is closed")
		}
		ref := "refs/heads/" + p.base
		base, err := r.run("rev-parse", "--verify", ref)
		if err != nil {
			return err
		}
		tree, err := r.run("merge-tree", "--write-tree", base, p.head)
		if err != nil {
			return err
		}
		owner, _, _ := strings.Cut(p.from.Name, "/")
		message := fmt.Sprintf("Merge pull request #%d from %s/%s\n\n%s", p.number, owner, p.branch, p.title)
		commit, err = r.run("commit-tree", tree, "-p", base, "-p", p.head, "-m", message)
		if err != nil {
			return err
		}
		if _, err := r.run("update-ref", ref, commit, base); err != nil {
			return err
		}
		p.merge, p.baseHead, p.closed, p.ended = commit, base, true, now()
		return nil
	})
	return commit, err
}

// Statuses lists every word on a commit, the newest first.
func (r *Repo) Statuses(commit string) []Status {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.statusesOf(commit)
}

// Combined is the state that people see beside a commit (failure before pending before success;
// pending, too, where nothing was said), and the last word of each context, sorted by context.
func (r *Repo) Combined(commit string) (state string, latest []Status) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return combine(r.statusesOf(commit))
}

// Comments lists the comments of a pull request, the oldest first.
func (r *Repo) Comments(number int) []Comment {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.commentsOf(number)
}

// DeleteComment removes a comment, as a maintainer may.
func (r *Repo) DeleteComment(id int64) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.comments = slices.DeleteFunc(r.comments, func(c Comment) bool { return c.ID == id })
}

// AddComment says something in the name of a user.
func (r *Repo) AddComment(number int, author User, body string) Comment {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.addComment(number, author, body)
}

func (r *Repo) addComment(number int, author User, body string) Comment {
	c := Comment{ID: r.server.id(), Pull: number, Author: author, Body: body, At: now(), Changed: now()}
	r.comments = append(r.comments, c)
	return c
}

func (r *Repo) statusesOf(commit string) []Status {
	var found []Status
	for _, s := range slices.Backward(r.statuses) {
		if s.Commit == commit {
			found = append(found, s)
		}
	}
	return found
}

func (r *Repo) commentsOf(number int) []Comment {
	var found []Comment
	for _, c := range r.comments {
		if c.Pull == number {
			found = append(found, c)
		}
	}
	return found
}

func combine(newestFirst []Status) (state string, latest []Status) {
	for _, s := range newestFirst {
		if !slices.ContainsFunc(latest, func(l Status) bool { return l.Context == s.Context }) {
			latest = append(latest, s)
		}
	}
	slices.SortFunc(latest, func(a, b Status) int { return strings.Compare(a.Context, b.Context) })
	says := func(states ...string) bool {
		return slices.ContainsFunc(latest, func(s Status) bool { return slices.Contains(states, s.State) })
	}
	switch {
	case says("failure", "error"):
		return "failure", latest
	case says("pending") || len(latest) == 0:
		return "pending", latest
	}
	return "success", latest
}

func (r *Repo) change(number int, verb string, do func(*pull) error) error {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	p, err := r.pull(number)
	if err == nil {
		err = do(p)
	}
	if err != nil {
		return fmt.Errorf("%s pull request %d: %w", verb, number, err)
	}
	return nil
}

// pull finds a pull request and brings its head up to date. The caller holds the lock.
func (r *Repo) pull(number int) (*pull, error) {
	if number < 1 || number > len(r.pulls) {
		return nil, errNoPull
	}
	if err := r.followBranches(); err != nil {
		return nil, err
	}
	return r.pulls[number-1], nil
}
