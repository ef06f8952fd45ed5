package reconciler

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluice-gitops/sluice/policy"
)

// drain is how the nodes of a pool are emptied, as the rules in force say. Of what follows a drain
// that does not end, the most careful word holds that anybody says: the rules in force, the head
// and the operator.
type drain struct {
	timeout   time.Duration
	onTimeout string // "halt", "skipNode" or "force"
	pods      []policy.Pods
}

// patience is how long a drain may last where nobody says.
const patience = 30 * time.Minute

func drainOf(here, head policy.Rollout, guard *policy.Rollout) drain {
	d := drain{timeout: patience, onTimeout: "force"}
	careful := []string{"halt", "skipNode", "force"}
	says := []*policy.Drain{here.Drain, head.Drain}
	if here.Drain != nil {
		d.timeout, d.pods = lasting(here.Drain), here.Drain.Pods
	}
	if guard != nil && guard.Drain != nil {
		says = append(says, guard.Drain)
		d.timeout = min(d.timeout, lasting(guard.Drain))
		d.pods = slices.Concat(guard.Drain.Pods, d.pods)
	}
	for _, s := range says {
		word := "halt"
		if s != nil && slices.Contains(careful, s.OnTimeout) {
			word = s.OnTimeout
		}
		if slices.Index(careful, word) < slices.Index(careful, d.onTimeout) {
			d.onTimeout = word
		}
	}
	return d
}

// DrainRules is how nodes are emptied while here is in force and head is what they move to.
func DrainRules(here, head policy.Rollout, guard *policy.Rollout) policy.Drain {
	d := drainOf(here, head, guard)
	return policy.Drain{Timeout: d.timeout.String(), OnTimeout: d.onTimeout, Pods: d.pods}
}

func lasting(d *policy.Drain) time.Duration {
	t, err := time.ParseDuration(d.Timeout)
	if err != nil || t <= 0 {
		return patience // render has refused what cannot be read
	}
	return t
}

// giveUp ends the drains that have lasted too long: the pool halts, or the node is left out of
// this attempt. It costs the target nothing of its failure budget: nothing was touched. A node that
// does not answer, or that must be repaired, is not given up: it has to be reached. A drain that
// was begun for an older commit ends, too, and the node is emptied anew in its turn. A canary that is
// named by its labels is left out by nobody: all others would wait for it.
func (p Pool) giveUp(errands []errand, b *bench) Pool {
	d, now := b.drain, b.request.Now
	if p.Halt != "" || d.onTimeout == "force" {
		return p
	}
	for i := range errands {
		e := &errands[i]
		if !p.late(e, d, now) {
			continue
		}
		if p.Begun[e.Name].Drain.Before(p.AttemptAt) {
			e.returned = true // what it lasted for an older commit is no fault of this one's
			continue
		}
		why := fmt.Sprintf("node %s was not drained within %s: %s", e.Name, plain(d.timeout), culprit(e.Node))
		if b.proves(e.Node) {
			why += "; it is a canary, for which all others wait"
		} else if d.onTimeout != "halt" {
			p.Skipped = maps.Clone(p.Skipped)
			if p.Skipped == nil {
				p.Skipped = map[string]string{}
			}
			p.Skipped[e.Name] = why
			continue
		}
		p.Halt = why
		return p
	}
	return p
}

// late says that a node's drain has lasted longer than it may.
func (p *Pool) late(e *errand, d drain, now time.Time) bool {
	if e.Cordon != Ours || e.Drained || e.reached || e.asked || busy(e.Node) {
		return false
	}
	since := p.Begun[e.Name].Drain
	return !since.IsZero() && now.Sub(since) >= d.timeout && e.Ready && !failing(e.Node)
}

// empty drains a node, and says what stands in the way.
func (p *Pool) empty(e *errand, b *bench) Effect {
	now, since := b.request.Now, p.Begun[e.Name].Drain
	if since.IsZero() || e.Cordon != Ours { // its pods may have come back since then
		since = now
	}
	until := since.Add(b.drain.timeout)
	force := b.drain.onTimeout == "force" && !now.Before(until)
	if e.Blocked != "" && e.Cordon == Ours {
		p.hold(e, policy.Finding{Check: "drain", Outcome: policy.Wait, Reason: fmt.Sprintf("node %s cannot be emptied: %s%s", e.Name, e.Blocked, b.next(e, until, force))})
	}
	d := Drain{Node: e.Name, Until: until, Pods: b.drain.pods, Force: force}
	if force {
		d.Until = time.Time{}
	}
	return d
}

// next is what becomes of a drain that is blocked; "" where it goes on until the node is empty. A
// status leaves it out: each drain that begins again would be another.
func (b *bench) next(e *errand, until time.Time, force bool) string {
	ends := map[string]string{
		"halt": "the node goes back to work and the pool halts", "skipNode": "the node goes back to work and is left out", "force": "the pods are deleted by force",
	}
	then := b.drain.onTimeout
	if then == "skipNode" && b.proves(e.Node) {
		then = "halt"
	}
	switch {
	case force:
		return tried + minute(until) + ", and now all that may be is deleted by force"
	case then != "force" && (!e.Ready || failing(e.Node)): // it has to be reached: see giveUp
		return ""
	}
	return fmt.Sprintf("%s%s, then %s (drain.onTimeout: %s); sluice hold %s gives the node back now", tried, minute(until), ends[then], b.drain.onTimeout, b.request.Pool)
}

const tried = "; tried until "

func culprit(n *Node) string {
	if n.Blocked == "" {
		return "nobody says what stands in the way"
	}
	return n.Blocked
}

// plain is a duration as people write it: 30m, not 30m0s.
func plain(d time.Duration) string {
	text := d.String()
	for _, idle := range []string{"m0s", "h0m"} {
		if n := len(text) - 2; n > 0 && text[max(0, n-1):] == idle {
			text = text[:n]
		}
	}
	return text
}
