package policy

import (
	"fmt"
	"time"
)

// InForce says whether a hold stops a pool at a moment.
func (h Hold) InForce(pool string, now time.Time) bool {
	return (h.Pool == "" || h.Pool == pool) && (h.Until.IsZero() || now.Before(h.Until))
}

// hold makes no exception: who stops a pool stops repairs, too. A node that is drained and has no
// order yet is handed back.
func hold(r Request) (Outcome, string) {
	for _, h := range r.Holds {
		if !h.InForce(r.Pool, r.Now) {
			continue
		}
		until := "until it is released"
		if !h.Until.IsZero() {
			until = "until " + h.Until.UTC().Format("2006-01-02 15:04:05 UTC")
		}
		return Wait, fmt.Sprintf("held by %s %s (%s)", h.By, until, h.Reason)
	}
	return Allow, ""
}
