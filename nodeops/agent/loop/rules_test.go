package loop_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/host"
	"github.com/sluice-gitops/sluice/nodeops/host/local"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// priced orders a config as the controller does: with the rules of the pool, and as ceiling what
// they make of the way from where the node is.
func (w *world) priced(from, to machine.Config, rules []impact.Rule) []impact.Action {
	actions := impact.Diff(from, to, rules)
	w.inbox.Send(w.inbox.Want.Generation+1, to)
	w.inbox.Want.Ceiling, w.inbox.Want.Rules = impact.Worst(actions), rules
	w.units.Did = nil
	return actions
}

// deeds are what the service manager should be asked for because of actions, each once.
func deeds(actions []impact.Action) (out []string) {
	for _, a := range actions {
		did := a.Kind.String() + " " + a.Unit
		if (a.Kind == impact.Reload || a.Kind == impact.Restart) && !slices.Contains(out, did) {
			out = append(out, did)
		}
	}
	return out
}

// What the controller makes of a change by the rules of the repository is what the node does: no
// more, no less, each deed once, and what systemd must read anew before what restarts.
func TestNodeDoesWhatTheControllerPriced(t *testing.T) {
	own := func(path, unit string, actions ...impact.Action) impact.Rule {
		return impact.Rule{Path: path, Unit: unit, Own: true, Actions: actions}
	}
	restart := impact.Action{Kind: impact.Restart, Unit: "app.service"}
	reload := impact.Action{Kind: impact.Reload}
	rules := impact.Over(impact.Defaults(), []impact.Rule{
		own("/etc/app/**", "", restart),
		own("/etc/app/drained", "", impact.Action{Kind: impact.Drain}, restart),
		own("/etc/hot*", "", impact.Action{}),
		own("", "app*.service", restart, reload),
		own("", "app.timer", reload),
		own("/etc/containers/policy.json", "", impact.Action{Kind: impact.Reboot}),
	})
	unit := machine.Unit{Name: "app.service", Contents: "[Service]\nExecStart=/bin/true\n"}
	for _, row := range []struct {
		name string
		to   machine.Config
		did  []string
		boot int
	}{
		{"one restart for many files", machine.Config{Files: []machine.File{file("/etc/app/a", "1"), file("/etc/app/b/c", "1")}}, []string{"restart app.service"}, 0},
		{"nothing", machine.Config{Files: []machine.File{file("/etc/hot.conf", "1")}}, nil, 0},
		{"a new unit is read before it is started", machine.Config{Files: []machine.File{file("/etc/app/a", "1")}, Units: []machine.Unit{unit}}, []string{"reload ", "restart app.service"}, 0},
		{"two units, one daemon-reload", machine.Config{Units: []machine.Unit{unit, {Name: "app.timer", Contents: "[Timer]\n"}}}, []string{"reload ", "restart app.service"}, 0},
		{"a drain is the controller's, and over", machine.Config{Files: []machine.File{file("/etc/app/drained", "1")}}, []string{"restart app.service"}, 0},
		{"a reboot starts everything anew", machine.Config{Files: []machine.File{file("/etc/app/a", "1"), file("/etc/containers/policy.json", "{}")}}, nil, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			actions := w.priced(machine.Config{}, row.to, rules)
			if r := w.settle(); r.Phase != nodeops.Done {
				t.Fatalf("%s: %s", r.Phase, r.Why)
			}
			if !slices.Equal(w.units.Did, row.did) || w.box.Asked != row.boot {
				t.Errorf("did %q and %d reboots, want %q and %d", w.units.Did, w.box.Asked, row.did, row.boot)
			}
			if row.boot == 0 && !slices.Equal(w.units.Did, deeds(actions)) {
				t.Errorf("did %q, and the controller had priced %q", w.units.Did, deeds(actions))
			}
			w.priced(row.to, machine.Config{}, rules)
			if r := w.settle(); r.Phase != nodeops.Done || !slices.Equal(w.units.Did, row.did) || w.box.Asked != 2*row.boot {
				t.Errorf("the way back: %s %s, did %q and %d reboots", r.Phase, r.Why, w.units.Did, w.box.Asked-row.boot)
			}
		})
	}
}

// The agent finds the cost by the rules of its order, so a ceiling of a controller that had others
// is not gone beyond.
func TestNodeRefusesWhatItsOwnPriceForbids(t *testing.T) {
	w := newWorld(t)
	bare := w.picture()
	to := machine.Config{Files: []machine.File{file("/etc/app/a", "1")}}
	w.priced(machine.Config{}, to, append(impact.Defaults(), impact.Rule{Path: "/etc/app", Actions: []impact.Action{{Kind: impact.Restart, Unit: "app.service"}}}))
	w.inbox.Want.Rules = nil
	if r := w.settle(); r.Phase != nodeops.Refused || !strings.Contains(r.Why, "/etc/app/a asks for reboot, and the order allows at most restart") {
		t.Errorf("%s %s", r.Phase, r.Why)
	}
	if d := differs(bare, w.picture()); d != "" || w.units.Did != nil {
		t.Errorf("refused, and yet: did %v\n%s", w.units.Did, d)
	}
}

// The rules are remembered with the order: a restart of the agent between any two of its changes
// goes on by the same.
func TestRulesSurviveAKill(t *testing.T) {
	rules := append(impact.Defaults(), impact.Rule{Path: "/etc/app", Actions: []impact.Action{{Kind: impact.Restart, Unit: "app.service"}}})
	to := machine.Config{Files: []machine.File{file("/etc/app", "1")}}
	for kill := 1; ; kill++ {
		w := newWorld(t)
		w.units.Fail = map[string]error{"app.service": fmt.Errorf("app.service is broken")}
		w.priced(machine.Config{}, to, rules)
		reached := false
		w.at = func(n int, _ string) error {
			if n == kill {
				reached = true
				panic(killed{})
			}
			return nil
		}
		if r := w.settle(); r.Phase != nodeops.Restored || w.box.Asked != 0 || slices.Contains(w.units.Did, "reload ") {
			t.Fatalf("killed at change %d: %+v, did %q, %d reboots", kill, r, w.units.Did, w.box.Asked)
		}
		if !reached {
			break
		}
	}
}

// A restart that ends the agent, as that of the runtime of its container, ends too.
func TestARestartThatEndsTheAgent(t *testing.T) {
	rules := append(impact.Defaults(), impact.Rule{Path: "/etc/app", Actions: []impact.Action{{Kind: impact.Restart, Unit: "docker.service"}}})
	w := newWorld(t)
	bare := w.picture()
	w.priced(machine.Config{}, machine.Config{Files: []machine.File{file("/etc/app", "1")}}, rules)
	restarts := 0
	w.at = func(_ int, what string) error {
		if what == "restart docker.service" {
			restarts++
			panic(killed{})
		}
		return nil
	}
	r := w.settle()
	if r.Phase != nodeops.Restored || !strings.Contains(r.Why, "ended 3 times while it did restart docker.service") || restarts != 2*agent.MaxActed {
		t.Errorf("%+v after %d restarts", r, restarts)
	}
	if d := differs(bare, w.picture()); d != "" {
		t.Errorf("not as before:\n%s", d)
	}
}

// An order that is not wholly understood is answered by name, over the wire of a real inbox.
func TestOrderOfAnotherVersionIsRefusedByName(t *testing.T) {
	w := newWorld(t)
	bare := w.picture()
	dir := tempDir(t)
	fleet, err := host.Open(dir)
	must(t, err)
	defer fleet.Close()
	order := fmt.Sprintf(`{"node":"w1","generation":3,"config":%q,"ceiling":"reboot","rules":[{"path":"/etc/app","actions":[{"kind":"explode"}]}]}`, loud.Digest())
	encoded, err := json.Marshal(loud)
	must(t, err)
	write(t, filepath.Join(dir, "nodes/w1/order.json"), order, 0o644)
	write(t, filepath.Join(dir, "configs", string(loud.Digest())+".json"), string(encoded), 0o644)
	w.loop.Inbox = local.Inbox{Fleet: fleet, Node: "w1"}
	r, err := w.loop.Tick(context.Background())
	if err != nil || r.Phase != nodeops.Refused || r.Generation != 3 || !strings.Contains(r.Why, `rules: impact kind "explode" is not known`) {
		t.Errorf("%+v, %v", r, err)
	}
	if d := differs(bare, w.picture()); d != "" {
		t.Errorf("refused, and yet:\n%s", d)
	}
}
