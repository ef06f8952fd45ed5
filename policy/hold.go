package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// InForce says whether a hold stops a pool at a moment.
func (h Hold) InForce(pool string, now time.Time) bool {
	return (h.Pool == "" || h.Pool == pool) && (h.Until.IsZero() || now.Before(h.Until))
}

// hold makes no exception: who stops a pool stops repairs, too. A node that is drained and has no
// order yet is handed back.
func hold(r Request) (Outcome, string) {
	held := slices.DeleteFunc(slices.Clone(r.Holds), func(h Hold) bool { return !h.InForce(r.Pool, r.Now) })
	if len(held) == 0 {
		return Allow, ""
	}
	slices.SortStableFunc(held, func(a, b Hold) int { // what lasts longest first: words may be cut at their end
		if a.Until.IsZero() || b.Until.IsZero() {
			return a.Until.Compare(b.Until)
		}
		return b.Until.Compare(a.Until)
	})
	var words []string
	for _, h := range held {
		words = append(words, h.String())
	}
	return Wait, strings.Join(words, "; ")
}

// Controller signs the holds that nobody gave and nobody releases: their reason says what ends them.
const Controller = "sluice"

// String says who holds, until when and why.
func (h Hold) String() string {
	if h.By == Controller && h.Since.IsZero() && h.Until.IsZero() {
		return "held by " + h.By + ": " + h.Reason
	}
	until := "it is released"
	if !h.Until.IsZero() {
		until = h.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return fmt.Sprintf("held by %s until %s (%s)", h.By, until, h.Reason)
}
