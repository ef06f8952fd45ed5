package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/reconciler"
)

// fault is what goes wrong in the next tick only.
func (s *Script) fault(words []string) error {
	w, what, who, err := s.World, words[1], words[2:], error(nil)
	number := func() (n int) {
		if len(who) == 0 {
			err = fmt.Errorf("%s wants a number", what)
			return 0
		}
		n, err = strconv.Atoi(who[len(who)-1])
		return n
	}
	mark := func(m map[string]bool) map[string]bool {
		if m == nil {
			m = map[string]bool{}
		}
		for _, name := range who {
			m[name] = true
		}
		return m
	}
	switch what {
	case "crash":
		w.crash = 1 + number()
	case "lost":
		w.lost = mark(w.lost)
	case "slow":
		w.slow = mark(w.slow)
	case "twice":
		w.twice = mark(w.twice)
	case "later":
		if w.later == nil {
			w.later = map[string]int{}
		}
		w.later[who[0]] = number()
	case "drags":
		w.drags = true
	case "mute":
		w.mute = true
	case "stale":
		w.stale(number())
	case "stall", "rival":
		w.stall, w.rival = number(), what == "rival"
	default:
		return fmt.Errorf("no fault is called %q", what)
	}
	return err
}

// outage takes the API or Git away, and gives it back.
func (s *Script) outage(words []string) error {
	w, away := s.World, words[1] == "away"
	if !away && words[1] != "back" {
		return fmt.Errorf("want away or back, have %q", words[1])
	}
	if words[0] == "api" {
		w.apiAway = away
		return nil
	}
	w.gitAway = away
	if !away {
		w.recalls = false
		shelf := w.shelf
		w.shelf = nil
		for _, push := range shelf {
			push()
		}
	}
	return nil
}

// skew sets how far the controller's clock is from the true one.
func (s *Script) skew(words []string) (err error) {
	s.World.skew, err = time.ParseDuration(words[1])
	s.World.clocks = s.World.clocks || s.World.skew != 0
	return err
}

func (s *Script) calm([]string) error {
	s.World.calm()
	return nil
}

// settle ticks until the fleet is what the head asks; that it never comes there breaks a promise.
func (s *Script) settle(words []string) error {
	most, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	settled, why := false, ""
	for i := 0; i < most && !settled; i++ {
		s.World.Tick()
		settled, why = s.World.Settled()
	}
	if !settled {
		for _, p := range s.World.head.Pools {
			for _, f := range s.World.State.Pools[p.Name].Waiting {
				why += "; it waits for " + f.Check
			}
		}
		s.World.violate("did not converge: %s", why)
	}
	return nil
}

// join puts a new machine into the fleet: POOL or POOL,ZONE.
func (s *Script) join(name, where string) error {
	w := s.World
	if w.node(name).Name != "" {
		return fmt.Errorf("there is a node %s", name)
	}
	pool, z, _ := strings.Cut(where, ",")
	n := &node{Node: reconciler.Node{Name: name, Ready: true, Created: w.Now, Labels: map[string]string{role(pool): ""}}}
	if z != "" {
		n.Labels[zone] = z
	}
	at, _ := slices.BinarySearchFunc(w.nodes, name, func(n *node, name string) int { return strings.Compare(n.Name, name) })
	w.nodes = slices.Insert(w.nodes, at, n)
	w.gone = slices.DeleteFunc(w.gone, func(g string) bool { return g == name })
	return nil
}
