package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
)

// Script drives a world by lines of text, so that a reviewer reads behaviour:
//
//	pool worker nodes=4 max=2 zones=a,a,b,b   a pool, and its nodes worker-1 to worker-4
//	window worker "0 2 * * *" 4h [ZONE]       a window of the next push; "none" takes them away
//	policy worker {"soak": "5m"}              the RolloutPolicy of the next push, as JSON
//	max worker 50%                            maxUnavailable of the next push
//	push c1 worker=reload:1 edge=reboot:x     a commit; what a pool does not name stays as it is
//	revert c3 c1                              a commit with the content that c1 had
//	same c2                                   a commit that changes nothing
//	broken c3 WHY                             a commit that does not render
//	pause worker c4 | resume worker c4        a commit that sets spec.paused
//	poison WHERE worker=reload:1              where an order for this content ends: done, restored, failed; or
//	                                          found at validate, apply, boot, ready or soak
//	node NAME dead|back|silent|loud|gone|heal|drift=PATH|joins=POOL,ZONE
//	node NAME stuck|amnesia|pace=N            does not return from its next reboot; forgets; is slow
//	node NAME mute                            the cluster has no order and no report of it, until its agent is heard
//	rename OLD NEW                            a pool, of the next push; its nodes keep their labels
//	cordon NAME | uncordon NAME               by a person
//	label NAME pool                           moves a node to another pool
//	clock 2026-11-22T02:00                    sets the clock, in UTC
//	api|git away|back                         an outage
//	restart                                   the controller starts anew, with nothing but what was saved
//	skew 90m                                  how far the controller's clock is ahead
//	fault crash N | stall N | rival N         in the next tick: the controller crashes after N effects; stops
//	                                          for N ticks before it saves, with another that leads meanwhile
//	fault lost|slow|twice NAME | later NAME N effects get lost, agents sleep, effects are done again
//	fault drags | mute | stale N              a drain takes longer, receipts get lost, the cache stands still for N ticks
//	tick [N]                                  turns of the loop
//	calm                                      all trouble is over
//	settle N                                  ticks until the fleet is what the head asks, N at most
//	show                                      nodes and pools, as they are
//	forge                                     what the forge shows
//
// and what people say beside Git: see operators.
type Script struct {
	World *World
	pools map[string]render.Pool
	past  map[string]map[string]render.Pool // by commit

	retired map[string]render.Pool // that the next push is without
}

// NewScript is a script over an empty world without faults, on a Monday at 08:00 UTC.
func NewScript() *Script {
	return &Script{World: New(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)), pools: map[string]render.Pool{}, past: map[string]map[string]render.Pool{}, retired: map[string]render.Pool{}}
}

// Do runs one line and returns what happened, one event a line. An error is a mistake in the line.
func (s *Script) Do(line string) (string, error) {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(line, "#") {
		return "", nil
	}
	if err := s.run(line, words); err != nil {
		return "", err
	}
	events := append(s.World.Events, s.World.violated...)
	s.World.Events, s.World.violated = nil, nil
	return strings.Join(events, "\n"), nil
}

func (s *Script) run(line string, words []string) error {
	verbs := map[string]func([]string) error{
		"pool": s.pool, "window": s.window, "max": s.limit, "policy": s.policy, "rename": s.rename, "push": s.push, "same": s.push, "revert": s.revert, "broken": s.broken,
		"pause": s.pause, "resume": s.pause, "poison": s.poison, "node": s.machine,
		"cordon": s.cordon, "uncordon": s.cordon, "label": s.label, "clock": s.clock, "tick": s.tick,
		"show": s.show, "forge": s.forge, "fault": s.fault, "api": s.outage, "git": s.outage, "skew": s.skew, "restart": func([]string) error { return s.World.restart() }, "calm": s.calm, "settle": s.settle,
	}
	verb, ok := verbs[words[0]]
	if o, yes := operators[words[0]]; yes {
		if len(words) < o.words {
			return fmt.Errorf("script: %s needs %d words, has %d", words[0], o.words, len(words))
		}
		verb, ok = func(words []string) error { return o.do(s, words) }, true
	}
	if !ok {
		return fmt.Errorf("script: no such command %q", words[0])
	}
	if len(words) < least[words[0]] {
		return fmt.Errorf("script: %s needs %d words, has %d", words[0], least[words[0]], len(words))
	}
	if err := verb(words); err != nil {
		return fmt.Errorf("script: %s: %w", line, err)
	}
	return nil
}

var least = map[string]int{
	"pool": 2, "window": 3, "max": 3, "policy": 3, "rename": 3, "push": 2, "same": 2, "revert": 3, "broken": 3, "pause": 3, "resume": 3, "poison": 3,
	"node": 3, "cordon": 2, "uncordon": 2, "label": 3, "clock": 2, "fault": 2, "api": 2, "git": 2, "skew": 2, "settle": 2,
}

func (s *Script) pool(words []string) error {
	p := render.Pool{Name: words[1], Selector: labels.SelectorFromSet(labels.Set{role(words[1]): ""})}
	count, zones := 0, []string{}
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "nodes":
			n, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			count = n
		case "max":
			p.Strategy.MaxUnavailable = value
		case "zones":
			zones = strings.Split(value, ",")
		default:
			return fmt.Errorf("no such option %q", key)
		}
	}
	for i := range count {
		n := &node{Node: reconciler.Node{Name: fmt.Sprintf("%s-%d", p.Name, i+1), Ready: true, Labels: map[string]string{role(p.Name): ""}}}
		if i < len(zones) {
			n.Labels[zone] = zones[i]
		}
		s.World.nodes = append(s.World.nodes, n)
	}
	s.pools[p.Name] = p
	return nil
}

func role(pool string) string { return "node-role.kubernetes.io/" + pool }

func (s *Script) window(words []string) error {
	p := s.pools[words[1]]
	p.Policy = policy.Rollout{}
	if words[2] != "none" {
		parts := strings.Split(strings.Join(words[2:], " "), `"`)
		if len(parts) != 3 || strings.TrimSpace(parts[2]) == "" {
			return fmt.Errorf(`want "CRON" DURATION [ZONE]`)
		}
		rest := strings.Fields(parts[2])
		w := policy.Window{Schedule: parts[1], Duration: rest[0]}
		if len(rest) > 1 {
			w.TimeZone = rest[1]
		}
		p.Policy.Windows = []policy.Window{w}
	}
	s.pools[words[1]] = p
	return nil
}

func (s *Script) policy(words []string) error {
	p := s.pools[words[1]]
	p.Policy = policy.Rollout{}
	if err := json.Unmarshal([]byte(strings.Join(words[2:], " ")), &p.Policy); err != nil {
		return err
	}
	if wrong := p.Policy.Problems(); len(wrong) > 0 {
		return fmt.Errorf("%s: %s", wrong[0].Field, wrong[0].Why)
	}
	s.pools[words[1]] = p
	return nil
}

func (s *Script) rename(words []string) error {
	p := s.pools[words[1]]
	p.Name = words[2]
	delete(s.pools, words[1])
	s.pools[p.Name] = p
	return nil
}

func (s *Script) limit(words []string) error {
	p := s.pools[words[1]]
	p.Strategy.MaxUnavailable = words[2]
	s.pools[words[1]] = p
	return nil
}

func (s *Script) push(words []string) error {
	for _, w := range words[2:] {
		p, err := s.content(w)
		if err != nil {
			return err
		}
		s.pools[p.Name] = p
	}
	s.past[words[1]] = maps.Clone(s.pools)
	s.World.Push(words[1], s.list())
	return nil
}

func (s *Script) revert(words []string) error {
	old, ok := s.past[words[2]]
	if !ok {
		return fmt.Errorf("no commit %q", words[2])
	}
	for name, p := range old {
		if now, there := s.pools[name]; there {
			now.Config = p.Config
			s.pools[name] = now
		}
	}
	return s.push(words[:2])
}

// content is a pool with the change that POOL=WORD:VALUE names, not yet pushed.
func (s *Script) content(w string) (render.Pool, error) {
	name, change, _ := strings.Cut(w, "=")
	cost, value, ok := strings.Cut(change, ":")
	p, known := s.pools[name]
	if !ok || !known {
		return p, fmt.Errorf("want POOL=none|reload|app|reboot:VALUE of a known pool, have %q", w)
	}
	if _, known := paths[cost]; !known && cost != "reboot" && cost != "fips" {
		return p, fmt.Errorf("no content costs %q", cost)
	}
	p.Config = content(p, cost, value)
	return p, nil
}

func (s *Script) list() (out []render.Pool) {
	for _, p := range s.pools {
		p.Rules = nil
		if own := p.Policy.ImpactRules(); len(own) > 0 { // as render fills them
			p.Rules = impact.Over(impact.Defaults(), own)
		}
		out = append(out, p)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

func (s *Script) broken(words []string) error {
	s.World.PushBroken(words[1], strings.Join(words[2:], " "))
	return nil
}

func (s *Script) pause(words []string) error {
	p := s.pools[words[1]]
	p.Strategy.Paused = words[0] == "pause"
	s.pools[words[1]] = p
	s.World.Push(words[2], s.list())
	return nil
}

func (s *Script) poison(words []string) error {
	if !slices.Contains([]string{"done", "restored", "failed", "validate", "apply", "boot", "ready", "soak"}, words[1]) {
		return fmt.Errorf("nothing ends %q", words[1])
	}
	p, err := s.content(words[2])
	s.World.poison[p.Config.Digest()] = words[1]
	return err
}

func (s *Script) machine(words []string) error {
	n := s.World.node(words[1])
	what, value, _ := strings.Cut(words[2], "=")
	if what == "joins" {
		return s.join(words[1], value)
	}
	if n.Name == "" {
		return fmt.Errorf("no node %s", words[1])
	}
	switch what {
	case "dead":
		n.dead, n.Ready = true, false
	case "back":
		n.dead, n.Ready = false, n.work == 0 && n.sours >= 0
	case "stuck":
		n.stuck = true
	case "mute":
		s.World.unheard(n)
	case "amnesia":
		s.World.forget(n)
	case "pace":
		pace, err := strconv.Atoi(value)
		n.pace = pace
		return err
	case "silent", "loud":
		n.silent = what == "silent"
	case "drift":
		n.Report.Drift = []nodeops.Drift{{Path: value, Kind: nodeops.DriftContent, Why: "differs"}}
	case "heal":
		n.Report.Drift = nil
	case "gone":
		for i, other := range s.World.nodes {
			if other == n {
				s.World.nodes = slices.Delete(slices.Clone(s.World.nodes), i, i+1)
				s.World.gone = append(s.World.gone, n.Name)
				return nil
			}
		}
	default:
		return fmt.Errorf("a node cannot be %q", what)
	}
	return nil
}

func (s *Script) cordon(words []string) error {
	n := s.World.node(words[1])
	switch {
	case words[0] == "uncordon":
		n.meddled = n.meddled || n.Cordon == reconciler.Ours // its work comes back, whatever we meant to do
		n.Cordon, n.Drained = reconciler.Uncordoned, false
	case n.Cordon == reconciler.Uncordoned:
		n.Cordon = reconciler.Foreign
	}
	return nil
}

func (s *Script) label(words []string) error {
	n, now := s.World.node(words[1]), map[string]string{}
	if z, ok := n.Labels[zone]; ok {
		now[zone] = z
	}
	for _, pool := range words[2:] {
		now[role(pool)] = ""
	}
	s.World.move(n, now)
	return nil
}

func (s *Script) clock(words []string) (err error) {
	s.World.Now, err = time.Parse("2006-01-02T15:04", words[1])
	return err
}

func (s *Script) tick(words []string) error {
	count := 1
	if len(words) > 1 {
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		count = n
	}
	for range count {
		s.World.Tick()
	}
	return nil
}
