// Package clock is the time by the API server. Nodes and controllers have clocks of their own, which may be
// wrong; what one of them writes for the other, such as the end of an order, is a time of this one.
package clock

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// MaxSkew is how far a machine's clock may be off before that is said.
const MaxSkew = 30 * time.Second

// Clock is the time by the API server, as its answers say it. A machine whose own clock is wrong would
// begin too late, or refuse what is in time; a controller's would open windows at the wrong hour. Its
// methods may be called by several goroutines.
type Clock struct {
	Log *slog.Logger // nil logs nothing

	mu     sync.Mutex
	server time.Time // what the server said
	heard  time.Time // when, with the reading of a clock that nobody sets
	off    bool      // it was said that the clocks differ
}

const (
	slowest = 5 * time.Second // is the longest way of an answer that still tells the time
	coarse  = 3 * time.Second // is how far two answers may differ without saying anything: they tell whole seconds
)

// Now is the time by the server, or the machine's own while the server was never heard. Setting the
// machine's clock does not change it, and answers that differ by less than they can tell do not either:
// it does not go back and forth.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.heard.IsZero() {
		return now
	}
	return c.server.Add(now.Sub(c.heard))
}

// Skew is how far the machine's clock is ahead of the server's, as of now; known is false while the
// server was never heard. It is right to a few seconds.
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
	server, heard := at.Add(time.Second/2), asked.Add(answered.Sub(asked)/2)
	c.mu.Lock()
	if c.heard.IsZero() || server.Sub(c.server.Add(heard.Sub(c.heard))).Abs() > coarse {
		c.server, c.heard = server, heard
	}
	c.mu.Unlock()
	ahead, _ := c.Skew()
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.off
	if c.off = ahead.Abs() > MaxSkew; c.off == was || c.Log == nil {
		return
	}
	if c.off {
		c.Log.Warn("the clock of this machine is off; the time goes by the API server's", "ahead", ahead.Round(time.Second))
		return
	}
	c.Log.Info("the clock of this machine is right again")
}

// Listen is a transport that hears what answers say of the time.
func (c *Clock) Listen(next http.RoundTripper) http.RoundTripper { return listener{c, next} }

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
