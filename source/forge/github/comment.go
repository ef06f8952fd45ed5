package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/sluice-gitops/sluice/source"
)

// Comment writes our one comment on a pull request, or edits it in place. Ours is the comment
// that begins with our marker AND is written by us: anybody can read the marker and post it.
func (f *Forge) Comment(ctx context.Context, c source.Comment) error {
	f.mu.Lock() // two at once would each find no comment, and both make one
	defer f.mu.Unlock()
	if err := f.comment(ctx, c.Proposal, f.body(c.Body)); err != nil {
		return fmt.Errorf("comment on pull request %d: %w", c.Proposal, err)
	}
	return nil
}

func (f *Forge) comment(ctx context.Context, number int, body string) error {
	ours, err := f.find(ctx, number)
	if err != nil {
		return err
	}
	if ours != nil {
		if plain(ours.GetBody()) == body {
			return nil
		}
		err = f.ask(ctx, "pull_requests:write", func(ctx context.Context) (*gh.Response, error) {
			_, answer, err := f.Client.Issues.EditComment(ctx, f.Owner, f.Repo, ours.GetID(), &gh.IssueComment{Body: &body})
			return answer, err
		})
		if !missing(err) {
			return err
		}
		delete(f.comments, number) // somebody deleted it since we looked
	}
	var made *gh.IssueComment
	err = f.ask(ctx, "pull_requests:write", func(ctx context.Context) (answer *gh.Response, err error) {
		made, answer, err = f.Client.Issues.CreateComment(ctx, f.Owner, f.Repo, number, &gh.IssueComment{Body: &body})
		return answer, err
	})
	if err != nil {
		return err
	}
	f.remember(number, made)
	return nil
}

// find returns our comment as the forge shows it now; nil when there is none. Once known it
// costs one request, before that one for each hundred comments.
func (f *Forge) find(ctx context.Context, number int) (*gh.IssueComment, error) {
	if id, known := f.comments[number]; known {
		var ours *gh.IssueComment
		err := f.ask(ctx, "pull_requests:read", func(ctx context.Context) (answer *gh.Response, err error) {
			ours, answer, err = f.Client.Issues.GetComment(ctx, f.Owner, f.Repo, id)
			return answer, err
		})
		if !missing(err) {
			return ours, err
		}
		delete(f.comments, number)
	}
	if err := f.learnSelf(ctx); err != nil {
		return nil, err
	}
	options := &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: 100, Page: 1}}
	for options.Page != 0 {
		var comments []*gh.IssueComment
		err := f.ask(ctx, "pull_requests:read", func(ctx context.Context) (answer *gh.Response, err error) {
			comments, answer, err = f.Client.Issues.ListComments(ctx, f.Owner, f.Repo, number, options)
			options.Page = next(answer)
			return answer, err
		})
		if err != nil {
			return nil, err
		}
		for _, c := range comments {
			if first, _, _ := strings.Cut(plain(c.GetBody()), "\n"); first == f.marker() && f.self(c.GetUser()) {
				f.remember(number, c)
				return c, nil
			}
		}
	}
	return nil, nil
}

func (f *Forge) remember(number int, c *gh.IssueComment) {
	if f.comments == nil {
		f.comments = map[int]int64{}
	}
	f.comments[number] = c.GetID()
}

// learnSelf asks once who we are. The number counts: a login can be changed, and taken by
// somebody else.
func (f *Forge) learnSelf(ctx context.Context) error {
	if f.self != nil {
		return nil
	}
	var me *gh.User
	err := f.ask(ctx, "a user's token", func(ctx context.Context) (answer *gh.Response, err error) {
		me, answer, err = f.Client.Users.Get(ctx, "")
		return answer, err
	})
	var denied *DeniedError
	switch {
	case err == nil:
		f.self = func(u *gh.User) bool { return u.GetID() == me.GetID() }
	case errors.As(err, &denied) && denied.Status == http.StatusForbidden && f.Login != "":
		// Nobody but the app writes as a bot of this name.
		f.self = func(u *gh.User) bool { return u.GetType() == "Bot" && strings.EqualFold(u.GetLogin(), f.Login) }
	case errors.As(err, &denied) && denied.Status == http.StatusForbidden:
		return fmt.Errorf("ask who we are: an app's token may not; set the login of the forge to NAME[bot]: %w", err)
	default:
		return fmt.Errorf("ask who we are: %w", err)
	}
	return nil
}

func (f *Forge) marker() string { return "<!-- sluice:" + f.Fleet + " -->" }

// body is the comment as the forge shall hold it. A marker in the text is made visible, so that
// no text can pass for the comment of another fleet. What is too long is cut at a line, and says
// so at its head, where no fence or fold that was cut open can hide it.
func (f *Forge) body(text string) string {
	text = strings.ReplaceAll(plain(text), "<!-- sluice:", "&lt;!-- sluice:")
	runes := []rune(text)
	if len(runes) > maxBody {
		cut := string(runes[:maxBody])
		if end := strings.LastIndexByte(cut, '\n'); end > len(cut)/2 {
			cut = cut[:end]
		}
		text = fmt.Sprintf("> **Cut short:** the first %d of %d characters are shown; `sluice preview` prints the whole.\n\n%s",
			len([]rune(cut)), len(runes), cut)
	}
	return f.marker() + "\n" + plain(text)
}

// plain is a text as it comes back from the forge, whatever it does to line ends and to bytes
// that are no UTF-8: else we would edit for ever.
func plain(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	return strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), " \t\r\n")
}
