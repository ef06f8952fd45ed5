package policy

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// complaints gathers mistakes by field.
type complaints []Problem

func (c *complaints) add(field, why string, args ...any) {
	*c = append(*c, Problem{field, fmt.Sprintf(why, args...)})
}

// word refuses everything but one of a few words, or none.
func (c *complaints) word(field, got string, words ...string) {
	if got != "" && !slices.Contains(words, got) {
		c.add(field, "%q is none of %s", got, strings.Join(words, ", "))
	}
}

// span refuses a duration that is not above zero, or above most.
func (c *complaints) span(field, text string, most time.Duration) {
	d, err := time.ParseDuration(text)
	switch {
	case text == "":
	case err != nil || d <= 0:
		c.add(field, "%q is no duration such as 10m", text)
	case d > most:
		c.add(field, "%q is longer than %s", text, most)
	}
}

var (
	labelName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`)
	labelPrefix = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// labels refuses what no object of Kubernetes can carry: it would select nothing, without a word.
func (c *complaints) labels(field string, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		name := key
		if prefix, rest, ok := strings.Cut(key, "/"); ok {
			name = rest
			if len(prefix) > 253 || !labelPrefix.MatchString(prefix) {
				name = ""
			}
		}
		if !labelName.MatchString(name) {
			c.add(field, "%q is no key of a label", key)
		}
		if value := labels[key]; value != "" && !labelName.MatchString(value) {
			c.add(field, "%q is no value of the label %q", value, key)
		}
	}
}

// gateProblems are the mistakes in what is asked before a node, and in how it is drained.
func (r Rollout) gateProblems() []Problem {
	var c complaints
	if r.Canary != nil {
		c.labels("canary.labels", r.Canary.Labels)
	}
	c.word("overrun", r.Overrun, "deny", "allow")
	if d := r.Drain; d != nil {
		d.problems(&c)
	}
	names, probes := map[string]bool{}, []string{}
	for _, g := range r.Health {
		if g.Expression == "" {
			probes = append(probes, g.Name)
		}
	}
	for i, g := range r.Health {
		field := fmt.Sprintf("health[%d]", i)
		switch {
		case g.Name == "":
			c.add(field+".name", "is missing")
		case names[g.Name]:
			c.add(field+".name", "%q stands twice", g.Name)
		}
		names[g.Name] = true
		g.problems(field, &c)
		for _, name := range strangers(g.Expression, probes) {
			c.add(field+".expression", "there is no probe %q: name a health gate of this policy that is no expression", name)
		}
	}
	if a := r.Approvals; a != nil {
		a.problems(&c)
	}
	return c
}

func (d Drain) problems(c *complaints) {
	c.span("drain.timeout", d.Timeout, 24*time.Hour)
	c.word("drain.onTimeout", d.OnTimeout, "halt", "skipNode", "force")
	for i, p := range d.Pods {
		field := fmt.Sprintf("drain.pods[%d]", i)
		if p.Action == "" {
			c.add(field+".action", "is missing: give evict, skip, wait or block")
		}
		c.word(field+".action", p.Action, "evict", "skip", "wait", "block")
		c.labels(field+".labels", p.Labels)
		if p.Namespace != "" && (len(p.Namespace) > 63 || !labelPrefix.MatchString(p.Namespace) || strings.Contains(p.Namespace, ".")) {
			c.add(field+".namespace", "%q is no name of a namespace", p.Namespace)
		}
	}
}

func (g HealthGate) problems(field string, c *complaints) {
	kinds := 0
	for _, kind := range []string{g.HTTP, g.Alerts, g.Query, g.Nodes, g.Expression} {
		if kind != "" {
			kinds++
		}
	}
	if kinds != 1 {
		c.add(field, "asks %d questions: give one of http, alerts, query, nodes and expression", kinds)
	}
	if g.HTTP != "" {
		u, err := url.Parse(g.HTTP)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
			c.add(field+".http", "is no address such as https://status.example.com/ready") // it may hold a password, so it is not shown
		case u.User != nil:
			c.add(field+".http", "holds credentials: what stands in Git is no secret")
		}
	}
	if _, err := regexp.Compile(g.Alerts); err != nil {
		c.add(field+".alerts", "%q is no regular expression: %v", g.Alerts, err)
	}
	if g.Nodes != "" && !labelName.MatchString(g.Nodes) {
		c.add(field+".nodes", "%q is no condition such as Ready", g.Nodes)
	}
	if g.Expression != "" {
		if _, err := compile(g.Expression); err != nil {
			c.add(field+".expression", "%v", err)
		}
	}
	c.span(field+".timeout", g.Timeout, maxProbe)
	if g.Timeout != "" && (g.Nodes != "" || g.Expression != "") {
		c.add(field+".timeout", "has no meaning for nodes and expression: they are answered at once")
	}
}

// maxProbe is how long a gate may be waited for: the controller does nothing else meanwhile.
const maxProbe = 30 * time.Second

// Wait is how long an answer is waited for.
func (g HealthGate) Wait() time.Duration {
	if d, err := time.ParseDuration(g.Timeout); err == nil && d > 0 && d <= maxProbe {
		return d
	}
	return 10 * time.Second
}

func (a Approvals) problems(c *complaints) {
	if a.Count < 1 {
		c.add("approvals.count", "%d asks nobody: give at least 1", a.Count)
	}
	seen, teams := map[string]bool{}, false
	for i, who := range a.From {
		field := fmt.Sprintf("approvals.from[%d]", i)
		org, team, isTeam := strings.Cut(who, "/")
		teams = teams || isTeam
		switch {
		case who == "" || strings.ContainsAny(who, " \t\n@") || isTeam && (org == "" || team == "" || strings.Contains(team, "/")):
			c.add(field, "%q is neither a user nor ORG/TEAM", who)
		case seen[strings.ToLower(who)]:
			c.add(field, "%q stands twice", who)
		}
		seen[strings.ToLower(who)] = true
	}
	if len(a.From) > 0 && !teams && a.Count > len(a.From) {
		c.add("approvals.count", "%d can never be reached: from names %d users", a.Count, len(a.From))
	}
}
