package kube

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// MaxSkew is how far a node's clock may be off before that is said.
const MaxSkew = 30 * time.Second

// Clock is the time by the API server, as its answers say it. An order's end is a time of that
// clock: a node whose own clock is wrong would begin too late, or refuse what is in time.
type Clock struct {
	Log *slog.Logger // nil logs nothing

	mu     sync.Mutex
	server time.Time // what the server said
	heard  time.Time // when, with the reading of a clock that nobody sets
	off    bool      // it was said that the clocks differ
}

// slowest is the longest way of an answer that still tells the time.
const slowest = 5 * time.Second

// Now is the time by the server, or the node's own while the server was never heard. Setting the
// node's clock does not change it.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.heard.IsZero() {
		return now
	}
	return c.server.Add(now.Sub(c.heard))
}

// Skew is how far the node's clock is ahead of the server's, as of now; known is false while the
// server was never heard. It is right to about a second.
func (c *Clock) Skew() (ahead time.Duration, known bool) {
	c.mu.Lock()
	known = !c.heard.IsZero()
	c.mu.Unlock()
	if !known {
		return 0, false
	}
	return time.Now().Round(0).Sub(c.Now().Round(0)), true
}

// hear takes in what an answer says of the time. The header has whole seconds, cut off.
func (c *Clock) hear(date string, asked, answered time.Time) {
	at, err := http.ParseTime(date)
	if err != nil || answered.Sub(asked) > slowest {
		return
	}
	c.mu.Lock()
	c.server, c.heard = at.Add(time.Second/2), asked.Add(answered.Sub(asked)/2)
	c.mu.Unlock()
	ahead, _ := c.Skew()
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.off
	if c.off = ahead.Abs() > MaxSkew; c.off == was || c.Log == nil {
		return
	}
	if c.off {
		c.Log.Warn("the clock of this node is off; orders are judged by the API server's", "ahead", ahead.Round(time.Second))
		return
	}
	c.Log.Info("the clock of this node is right again")
}

func (c *Clock) listen(next http.RoundTripper) http.RoundTripper { return listener{c, next} }

type listener struct {
	clock *Clock
	next  http.RoundTripper
}

// RoundTrip passes a request on.
func (l listener) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := time.Now()
	answer, err := l.next.RoundTrip(r)
	if err == nil {
		l.clock.hear(answer.Header.Get("Date"), asked, time.Now())
	}
	return answer, err
}
