package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

const kills = 10

// TestKilledAtAnyMomentTheFleetConverges pushes commits and kills the controller, its agents with
// it, in the middle of their rollouts. SLUICE_SEED replays the pushes and the waits of a run.
func TestKilledAtAnyMomentTheFleetConverges(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("SLUICE_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SLUICE_SEED=%d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t)
	newest := r.git("rev-parse", "HEAD")
	pushed := []string{newest}
	middle := 0
	r.start()
	for i := range kills {
		if r.landed(newest) || i%4 == 3 || i > 2 && dice.IntN(3) == 0 { // else the push supersedes what is on its way
			if i%4 == 3 { // with a commit that nobody ever sees at the head
				r.edit(hugepages, `hugepages=\d+`, fmt.Sprintf("hugepages=%d", 2000+i))
				pushed = append(pushed, r.commit("on the way"))
			}
			newest = r.change(dice, i)
			pushed = append(pushed, newest)
		}
		<-time.After(time.Duration(50+dice.IntN(900)) * time.Millisecond)
		if !r.landed(newest) {
			middle++
		}
		r.kill()
		r.start()
	}
	newest = r.change(dice, kills)
	pushed = append(pushed, newest)
	r.awaitLanded(newest)
	r.await("the last word on every commit", func() bool { return len(r.unfinished(pushed)) == 0 })
	r.stop()

	t.Logf("%d kills, %d of them during a rollout; %d commits", kills, middle, len(pushed))
	if middle < kills/3 {
		t.Errorf("%d of %d kills met a rollout: the test does not test what it says", middle, kills)
	}
	r.holdAtRest()
	r.holdRendered(nil)
	r.holdWords(pushed)
}

// change pushes one commit of some kind: a reload, a reboot of one pool or of both, or a revert.
func (r *rig) change(dice *rand.Rand, n int) string {
	r.t.Helper()
	switch dice.IntN(5) {
	case 0:
		r.edit(registries, `registry[^:]*\.example\.com`, fmt.Sprintf("registry%d.example.com", n))
		return r.push("another registry")
	case 1:
		r.edit("base/10-time.yaml", `time\d*\.example\.com`, fmt.Sprintf("time%d.example.com", n))
		return r.push("another clock")
	case 2:
		if r.git("rev-list", "--count", "HEAD") != "1" {
			return r.revert()
		}
	}
	r.edit(hugepages, `hugepages=\d+`, fmt.Sprintf("hugepages=%d", 1000+n))
	return r.push("other huge pages")
}

// unfinished are the commits and contexts whose last word is not the last.
func (r *rig) unfinished(pushed []string) []string {
	var out []string
	for _, commit := range pushed {
		_, latest := r.repo.Combined(commit)
		if len(latest) < 2 {
			out = append(out, fmt.Sprintf("%s: %d contexts", commit[:7], len(latest)))
		}
		for _, st := range latest {
			if st.State == "pending" {
				out = append(out, fmt.Sprintf("%s %s: pending: %s", commit[:7], st.Context, st.Description))
			}
		}
	}
	return out
}

// holdWords holds that every commit has its last word in both pools, and that no kill made the
// forge hear more than one thing again.
func (r *rig) holdWords(pushed []string) {
	r.t.Helper()
	for _, u := range r.unfinished(pushed) {
		r.t.Errorf("no last word: %s", u)
	}
	repeats := 0
	for _, commit := range pushed {
		said := map[string]int{}
		last := map[string]string{}
		for _, st := range r.repo.Statuses(commit) {
			said[st.Context]++
			if words := st.State + " " + st.Description; last[st.Context] == words {
				repeats++
			} else {
				last[st.Context] = words
			}
		}
		for context, n := range said {
			if n > 12 { // from "0 of 4" to "4 of 4" and success are six, and then there are halts and kills
				r.t.Errorf("%s: %d statuses of %s", commit[:7], n, context)
			}
		}
	}
	if repeats > kills {
		r.t.Errorf("%d statuses were said again, want at most one for each of the %d kills", repeats, kills)
	}
	r.t.Logf("%d statuses were said twice", repeats)
}
