package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/source"
)

// reason is one answer of why.
type reason struct {
	Pool    string         `json:"pool,omitempty"`
	Node    string         `json:"node,omitempty"`
	Check   string         `json:"check"`
	Outcome policy.Outcome `json:"outcome"`
	Reason  string         `json:"reason"`
}

func whyCommand() *cobra.Command {
	var at fleetAt
	var output string
	c := &cobra.Command{
		Use: "why [POOL or NODE]", Short: "Say why a fleet, a pool or a node is not moving", Args: cobra.MaximumNArgs(1),
		Long: "Why says what keeps the fleet from being what the repository asks. Of a pool it says so for each of\n" +
			"its nodes, and what comes when a pause or a hold ends; of a node, what it waits for now.",
		ValidArgsFunction: at.completes(snapshot.pools, snapshot.nodes),
		RunE: at.look(func(c *cobra.Command, args []string, s snapshot) error {
			reasons := s.why()
			if len(args) == 1 {
				if !s.has(args[0]) {
					return fmt.Errorf("%s has no pool and no node %q", s.place, args[0])
				}
				reasons = slices.DeleteFunc(reasons, func(r reason) bool {
					return (r.Pool != "" || r.Node != "") && r.Pool != args[0] && r.Node != args[0] // what holds the fleet holds everybody
				})
				more, err := s.standing(c.Context(), args[0])
				if err != nil {
					reasons = append(reasons, reason{Check: "unknown", Outcome: policy.Wait, Reason: "what each node waits for is not known: " + err.Error()})
				}
				reasons = once(append(reasons, more...))
			}
			if output == "json" {
				return printJSON(c.OutOrStdout(), reasons)
			}
			printReasons(c.OutOrStdout(), reasons)
			return nil
		}),
	}
	at.flags(c)
	at.repoFlag(c)
	outputFlag(c, &output, "text", "json")
	return c
}

// once leaves out what another line says of the same node, with more: a node's own word is also what its
// pool makes of it.
func once(all []reason) (out []reason) {
	for i, r := range all {
		said := false
		for j, o := range all {
			more := len(o.Reason) > len(r.Reason) || o.Reason == r.Reason && j > i
			said = said || more && r.Node != "" && o.Node == r.Node && strings.Contains(o.Reason, r.Reason)
		}
		if !said {
			out = append(out, r)
		}
	}
	return out
}

// fewNodes is how many lines on nodes people read; the JSON holds all of them.
const fewNodes = 20

func printReasons(w io.Writer, reasons []reason) {
	nodes := 0
	for _, r := range reasons {
		what := "pool " + r.Pool
		if r.Node != "" {
			what = "node " + r.Node
			if nodes++; nodes > fewNodes {
				continue
			}
		} else if r.Pool == "" {
			what = "fleet"
		}
		fmt.Fprintf(w, "%s: %s (%s): %s\n", what, r.Outcome, r.Check, r.Reason)
	}
	if nodes > fewNodes {
		fmt.Fprintf(w, "and %d more on nodes: see -o json\n", nodes-fewNodes)
	}
	if len(reasons) == 0 {
		fmt.Fprintln(w, "nothing holds it: everything asked for is done or moving")
	}
}

func (s snapshot) has(name string) bool {
	_, pool := s.State.Pools[name]
	return pool || slices.ContainsFunc(s.Nodes, func(n reconciler.Node) bool { return n.Name == name })
}

// why gathers every reason for which something is not as the head asks, as the controller left
// them.
func (s snapshot) why() []reason {
	out := append([]reason{}, s.said...)
	switch {
	case s.State.Silent != "":
		out = append(out, reason{Check: "git", Outcome: policy.Wait, Reason: "no push is followed until the branch can be read: " + s.State.Silent})
	case s.State.Seen == "":
		out = append(out, reason{Check: "git", Outcome: policy.Wait, Reason: "no revision of the repository was ever seen: see what sluice run logs"})
	}
	if len(s.State.Refused) > 0 {
		st := s.State.Refused[0]
		check, outcome := "render", policy.Deny
		if st.State == source.Pending {
			check, outcome = "rewound", policy.Wait
		}
		out = append(out, reason{Check: check, Outcome: outcome, Reason: strings.TrimSpace(source.Short(st.Commit)+" "+st.Summary) + "; the last good revision stays in force"})
	}
	for _, name := range s.pools() {
		p := s.State.Pools[name]
		if why := p.Reason(); why != "" {
			out = append(out, reason{Pool: name, Check: "halt", Outcome: policy.Deny, Reason: why + "; push a fix or a revert"})
		}
		for _, f := range p.Waiting {
			if f.Check != "hold" { // those are read anew
				out = append(out, reason{Pool: name, Check: f.Check, Outcome: f.Outcome, Reason: f.Reason})
			}
		}
		for _, h := range s.heldBy(name) {
			out = append(out, reason{Pool: name, Check: "hold", Outcome: policy.Wait, Reason: h.String()})
		}
	}
	for _, n := range s.Nodes {
		out = append(out, s.trouble(n)...)
	}
	return out
}

// trouble is what a node says of itself.
func (s snapshot) trouble(n reconciler.Node) (out []reason) {
	if why := s.State.Strays[n.Name]; why != "" {
		out = append(out, reason{Node: n.Name, Check: "pool", Outcome: policy.Wait, Reason: why})
	}
	if !n.Ready {
		out = append(out, reason{Node: n.Name, Check: "ready", Outcome: policy.Wait, Reason: "is not ready"})
	}
	if n.Blocked != "" {
		out = append(out, reason{Node: n.Name, Check: "drain", Outcome: policy.Wait, Reason: "cannot be emptied: " + n.Blocked})
	}
	for _, d := range n.Report.Drift {
		out = append(out, reason{Node: n.Name, Check: "drift", Outcome: policy.Warn, Reason: strings.TrimSpace(fmt.Sprintf("%s (%s) %s", d.Path, d.Kind, d.Why))})
	}
	if n.Report.Why != "" {
		out = append(out, reason{Node: n.Name, Check: string(n.Report.Phase), Outcome: policy.Wait, Reason: n.Report.Why})
	}
	return out
}
