package sim

import (
	"fmt"
	"slices"
	"sort"

	"github.com/sluice-gitops/sluice/reconciler"
)

func (s *Script) show([]string) error {
	w := s.World
	out := []string{}
	for _, n := range w.nodes {
		line := fmt.Sprintf("node %s %s %s", n.Name, w.name(n.Report.Config), orWord(string(n.Report.Phase), "idle"))
		if n.Mute {
			line = fmt.Sprintf("node %s unheard", n.Name)
		}
		if !n.Ready {
			line += " not-ready"
		}
		if n.Cordon != reconciler.Uncordoned {
			line += " cordoned-" + string(n.Cordon)
		}
		out = append(out, line)
	}
	for _, p := range w.head.Pools {
		st := w.State.Pools[p.Name]
		line := fmt.Sprintf("pool %s %s at %s", p.Name, st.Phase, orWord(st.Revision.Commit, "nothing"))
		if st.Halt != "" {
			line += ": " + st.Halt
		}
		for _, f := range slices.Concat(st.Waiting, st.Warned) {
			line += fmt.Sprintf("\n  %s: %s", f.Check, f.Reason)
		}
		out = append(out, line)
	}
	for _, n := range w.nodes {
		if why := w.State.Strays[n.Name]; why != "" {
			out = append(out, "stray "+n.Name+": "+why)
		}
	}
	w.Events = append(w.Events, out...)
	return nil
}

func (s *Script) forge([]string) error {
	var lines []string
	for key, st := range s.World.Shown {
		lines = append(lines, fmt.Sprintf("%s %s: %s", key, st.State, st.Summary))
	}
	sort.Strings(lines)
	s.World.Events = append(s.World.Events, lines...)
	return nil
}

func orWord(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
