package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
)

// Drift is everything on the disk that is not as the tree has it, sorted by path. A unit's files
// are drift of the unit, at their path; its links at boot are drift of its enablement, at its
// name.
func Drift(want, disk Tree) []nodeops.Drift {
	var out []nodeops.Drift
	for _, p := range sortedKeys(want) {
		e, have := want[p], disk.at(p)
		kind, why := differ(e, have)
		switch {
		case kind == "":
			continue
		case e.Enables != "":
			out = append(out, nodeops.Drift{Path: e.Enables, Kind: nodeops.DriftEnablement, Why: p + " " + why})
		case e.Unit != "":
			out = append(out, nodeops.Drift{Path: p, Kind: nodeops.DriftUnit, Why: "of " + e.Unit + ": " + why})
		default:
			out = append(out, nodeops.Drift{Path: p, Kind: kind, Why: why})
		}
	}
	slices.SortStableFunc(out, func(a, b nodeops.Drift) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// at is what stands at a path; what was not seen is absent.
func (t Tree) at(p string) Entry {
	if e, ok := t[p]; ok {
		return e
	}
	return Entry{Kind: Absent}
}

// Booted is what a machine runs, as against what its disk holds.
type Booted struct {
	Image string   `json:"image,omitempty"` // as in machine.Config.OSImage; "" is the image it came with
	Kargs []string `json:"kargs,omitempty"` // the whole kernel command line, in words
	Fixed bool     `json:"-"`               // nothing of it can be changed from here: an order that asks for that is refused
}

// unbootable is what a config asks of an OS that is fixed and does not have it.
func unbootable(c machine.Config, gone []machine.Config, now, base Booted) string {
	if !now.Fixed {
		return ""
	}
	what := ""
	switch bad := Unbooted(c, gone, now, base); {
	case len(bad) > 0:
		what = bad[0].Path + ": " + bad[0].Why
	case c.KernelType != "" && c.KernelType != "default":
		what = "kernelType: is not the default"
	case len(c.Extensions) > 0:
		what = "extensions: are not of the OS that was installed"
	default:
		return ""
	}
	return what + ", and sluice cannot change what this node boots: change that on the node by other means, or take it out of the config"
}

// Unbooted is what a config asks of the running OS and has not got. As with MCO main, kernel
// arguments that nobody asked for are not drift; but those of the configs just left must be gone,
// except for as many as the machine came with.
func Unbooted(c machine.Config, gone []machine.Config, now, base Booted) []nodeops.Drift {
	var out []nodeops.Drift
	have, want, came := count(now.Kargs), count(c.KernelArgs), count(base.Kargs)
	for _, arg := range sortedKeys(want) {
		if have[arg] < want[arg] {
			out = append(out, kargDrift(arg, "is not on the kernel command line"))
		}
	}
	left := map[string]bool{}
	for _, g := range gone {
		for _, arg := range g.KernelArgs {
			left[arg] = left[arg] || have[arg] > want[arg]+came[arg]
		}
	}
	for _, arg := range sortedKeys(left) {
		if left[arg] {
			out = append(out, kargDrift(arg, "is still on the kernel command line"))
		}
	}
	wrong := c.OSImage != "" && now.Image != c.OSImage
	for _, g := range gone {
		wrong = wrong || g.OSImage != "" && g.OSImage != c.OSImage && now.Image == g.OSImage
	}
	if wrong {
		out = append(out, nodeops.Drift{Path: "osImageURL", Kind: nodeops.DriftImage, Why: fmt.Sprintf("runs %q, expected %q", now.Image, c.OSImage)})
	}
	return out
}

// kargDrift names the argument without its value, which may be a secret.
func kargDrift(arg, why string) nodeops.Drift {
	name, _, _ := strings.Cut(arg, "=")
	return nodeops.Drift{Path: "kernelArguments", Kind: nodeops.DriftKargs, Why: name + " " + why}
}

func count(words []string) map[string]int {
	out := map[string]int{}
	for _, w := range words {
		out[w]++
	}
	return out
}
