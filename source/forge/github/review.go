package github

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/sluice-gitops/sluice/source"
)

// maxPages bounds a list that strangers can lengthen. What lies beyond is not known, which is an
// error: an approval that was taken back may lie there.
const maxPages = 10

// Review tells of the pull request that brought a commit to the followed branch, and whose last
// word on it is an approval; its Proposal is 0 where the commit was pushed. Of the teams, as
// ORG/TEAM, each approval names those that its author is in; to see that, the token needs
// members:read of the organization.
func (f *Forge) Review(ctx context.Context, commit string, teams []string) (source.Review, error) {
	pull, err := f.brought(ctx, commit)
	if err != nil {
		return source.Review{}, fmt.Errorf("find pull request of commit %s: %w", source.Short(commit), err)
	}
	if pull == nil {
		return source.Review{}, nil
	}
	r := source.Review{Proposal: pull.GetNumber(), Author: pull.GetUser().GetLogin(), Head: pull.GetHead().GetSHA()}
	if r.Approvals, err = f.approvals(ctx, r.Proposal); err != nil {
		return source.Review{}, fmt.Errorf("list reviews of pull request %d: %w", r.Proposal, err)
	}
	for i, a := range r.Approvals {
		for _, team := range teams {
			in, err := f.member(ctx, team, a.By)
			if err != nil {
				return source.Review{}, fmt.Errorf("look for %s in team %s: %w", a.By, team, err)
			}
			if in {
				r.Approvals[i].Teams = append(r.Approvals[i].Teams, team)
			}
		}
	}
	return r, nil
}

// brought finds the merged pull request whose merge made the commit, or that was merged by moving
// the branch to its head. A commit that only lies within one brought nothing.
func (f *Forge) brought(ctx context.Context, commit string) (found *gh.PullRequest, err error) {
	options := &gh.ListOptions{PerPage: 100, Page: 1}
	for range maxPages {
		var pulls []*gh.PullRequest
		err := f.ask(ctx, "pull_requests:read", func(ctx context.Context) (answer *gh.Response, err error) {
			pulls, answer, err = f.Client.PullRequests.ListPullRequestsWithCommit(ctx, f.Owner, f.Repo, commit, options)
			options.Page = next(answer)
			return answer, err
		})
		if err != nil {
			return nil, err
		}
		for _, p := range pulls {
			if p.MergedAt == nil || p.GetBase().GetRef() != f.Branch {
				continue
			}
			if p.GetMergeCommitSHA() == commit {
				return p, nil
			}
			if p.GetHead().GetSHA() == commit {
				found = p
			}
		}
		if options.Page == 0 {
			return found, nil
		}
	}
	return nil, fmt.Errorf("there are more than %d pages", maxPages)
}

// approvals are the people whose last word is an approval. A comment is no such word.
func (f *Forge) approvals(ctx context.Context, number int) ([]source.Approval, error) {
	options := &gh.ListOptions{PerPage: 100, Page: 1}
	last := map[string]*gh.PullRequestReview{}
	var people []string // in the order of their first word
	for range maxPages {
		var reviews []*gh.PullRequestReview
		err := f.ask(ctx, "pull_requests:read", func(ctx context.Context) (answer *gh.Response, err error) {
			reviews, answer, err = f.Client.PullRequests.ListReviews(ctx, f.Owner, f.Repo, number, options)
			options.Page = next(answer)
			return answer, err
		})
		if err != nil {
			return nil, err
		}
		for _, r := range reviews { // the oldest first
			login := r.GetUser().GetLogin()
			if state := r.GetState(); login == "" || state == "COMMENTED" || state == "PENDING" {
				continue
			}
			if last[login] == nil {
				people = append(people, login)
			}
			last[login] = r
		}
		if options.Page != 0 {
			continue
		}
		var given []source.Approval
		for _, login := range people {
			if last[login].GetState() == "APPROVED" {
				given = append(given, source.Approval{By: login, Commit: last[login].GetCommitID()})
			}
		}
		return given, nil
	}
	return nil, fmt.Errorf("there are more than %d pages", maxPages)
}

func (f *Forge) member(ctx context.Context, team, login string) (bool, error) {
	org, slug, _ := strings.Cut(team, "/")
	var found *gh.Membership
	err := f.ask(ctx, "members:read", func(ctx context.Context) (answer *gh.Response, err error) {
		found, answer, err = f.Client.Teams.GetTeamMembershipBySlug(ctx, url.PathEscape(org), url.PathEscape(slug), url.PathEscape(login))
		return answer, err
	})
	if missing(err) {
		return false, nil
	}
	return err == nil && found.GetState() == "active", err
}
