package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"
)

// RateError says that GitHub wants no request before Until. It passes by itself.
type RateError struct {
	Until time.Time
	Why   string
}

func (e *RateError) Error() string {
	return fmt.Sprintf("rate limit: wait until %s: %s", e.Until.UTC().Format(time.RFC3339), e.Why)
}

// RetryAt is when the forge may be asked again.
func (e *RateError) RetryAt() time.Time { return e.Until }

// DeniedError says that the token lacks a right, or cannot see the repository. It stays until
// somebody changes the token.
type DeniedError struct {
	Status int    // 401, 403 or 404
	Right  string // what is missing, in GitHub's words: statuses:write
	Why    string // what GitHub says
}

func (e *DeniedError) Error() string {
	switch e.Status {
	case http.StatusUnauthorized:
		return fmt.Sprintf("token is not accepted (401 %s): give a new one with %s", e.Why, e.Right)
	case http.StatusNotFound:
		return fmt.Sprintf("not found, or hidden from the token (404 %s): check owner and repository, and that the token has %s", e.Why, e.Right)
	}
	return fmt.Sprintf("token lacks %s (%d %s)", e.Right, e.Status, e.Why)
}

// FullError says that a commit has had all the statuses of one context that GitHub takes, which
// is 1,000. Saying it again cannot help; other commits and contexts are not touched.
type FullError struct{ Why string }

// Final says that it is no use to say it again.
func (e *FullError) Final() bool { return true }

func (e *FullError) Error() string { return "no more statuses (422): " + e.Why }

// pause is how long we wait where GitHub asks us to and does not say how long.
const pause = time.Minute

// ask makes one request within its own time, and says what its error means. right is what the
// token needs for it.
func (f *Forge) ask(ctx context.Context, right string, request func(context.Context) (*gh.Response, error)) error {
	timeout := cmp.Or(f.Timeout, 30*time.Second)
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := request(within)
	switch {
	case err == nil:
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %s: %w", timeout, err)
	default:
		err = f.meaning(err, right)
	}
	if f.Heard != nil {
		f.Heard(outcome(err), left(answer))
	}
	return err
}

// outcome is how a request ended, in a word. That a commit takes no more statuses is an answer like
// another.
func outcome(err error) string {
	var limited *RateError
	var denied *DeniedError
	var full *FullError
	switch {
	case err == nil, errors.As(err, &full):
		return "ok"
	case errors.As(err, &limited):
		return "limited"
	case errors.As(err, &denied):
		return "denied"
	}
	return "failed"
}

// left is how many requests GitHub still takes; -1 where it does not say.
func left(answer *gh.Response) int {
	if answer == nil || answer.Response == nil || answer.Header.Get("X-RateLimit-Remaining") == "" {
		return -1
	}
	return answer.Rate.Remaining
}

func (f *Forge) now() time.Time {
	if f.Now == nil {
		return time.Now()
	}
	return f.Now()
}

func (f *Forge) meaning(err error, right string) error {
	var primary *gh.RateLimitError
	if errors.As(err, &primary) {
		return &RateError{Until: primary.Rate.Reset.Time, Why: primary.Message}
	}
	var secondary *gh.AbuseRateLimitError
	if errors.As(err, &secondary) {
		wait := pause
		if secondary.RetryAfter != nil {
			wait = *secondary.RetryAfter
		}
		return &RateError{Until: f.now().Add(wait), Why: secondary.Message}
	}
	var refused *gh.ErrorResponse
	if !errors.As(err, &refused) {
		return err
	}
	status, header := refused.Response.StatusCode, refused.Response.Header
	if status == http.StatusTooManyRequests || status == http.StatusForbidden && header.Get("Retry-After") != "" {
		return &RateError{Until: retryAt(header, f.now()), Why: refused.Message}
	}
	if status/100 == 3 {
		return fmt.Errorf("the forge sends us to another host (%d), where the token must not go: correct the forge's url", status)
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return &DeniedError{Status: status, Right: right, Why: refused.Message}
	case http.StatusUnprocessableEntity:
		for _, detail := range refused.Errors {
			if strings.Contains(detail.Message, "maximum number of statuses") {
				return &FullError{Why: detail.Message}
			}
		}
	}
	return err
}

// retryAt reads when a refusal that the client library does not know ends.
func retryAt(header http.Header, now time.Time) time.Time {
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		return now.Add(time.Duration(seconds) * time.Second)
	}
	if at, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64); err == nil && header.Get("X-RateLimit-Remaining") == "0" {
		return time.Unix(at, 0)
	}
	return now.Add(pause)
}

// missing says that what we asked for is not there.
func missing(err error) bool {
	var denied *DeniedError
	return errors.As(err, &denied) && denied.Status == http.StatusNotFound
}
