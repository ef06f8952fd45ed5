package agent_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

var (
	now    = time.Date(2030, 1, 2, 3, 0, 0, 0, time.UTC)
	policy = func(text string) machine.Config {
		return machine.Config{Files: []machine.File{{Path: "/etc/containers/policy.json", Mode: 0o644, Contents: []byte(text)}}}
	}
	a, b     = policy("a"), policy("b") // between them: a reload of crio.service
	r        = machine.Config{Files: a.Files, KernelArgs: []string{"x=1"}}
	free     = machine.Config{Files: append([]machine.File{{Path: "/etc/nmstate/openshift/x", Mode: 0o644}}, a.Files...)}
	blocked  = machine.Config{FirstBoot: []machine.Section{{Name: "storage.disks", Body: []byte(`[1]`)}}}
	unknown  = machine.Config{Files: []machine.File{{Path: "/f", User: "nobody-here"}}}
	password = machine.Config{Users: []machine.User{{Name: "core", PasswordHash: "x"}}}
)

// app is a with a file of a service of its own, of which only ruled orders know what follows.
var app = machine.Config{Files: append([]machine.File{{Path: "/etc/app", Mode: 0o644}}, a.Files...)}

func ruled(o nodeops.Order) nodeops.Order {
	o.Rules = append(impact.Defaults(), impact.Rule{Path: "/etc/app", Actions: []impact.Action{{Kind: impact.Restart, Unit: "app.service"}}})
	return o
}

func worsened(o nodeops.Order) nodeops.Order {
	o.Rules = append(impact.Defaults(), impact.Rule{Path: "/etc/containers/policy.json", Actions: []impact.Action{{Kind: impact.Reboot}}})
	return o
}

func strange(o nodeops.Order) nodeops.Order {
	o.Strange = `rules: impact kind "explode" is not known`
	return o
}

// at is a node that is wholly at a config and has had order 5 for it, in boot "one".
func at(c machine.Config) agent.Local {
	facts := agent.Facts{Users: map[string]agent.Account{}}
	tree, err := agent.TreeOf(c, facts)
	if err != nil {
		panic(err)
	}
	disk := agent.Tree{"/etc": {Kind: agent.Dir}, "/etc/containers": {Kind: agent.Dir}}
	originals := agent.Tree{}
	for p := range tree {
		originals[p] = agent.Entry{Kind: agent.Absent}
	}
	maps.Copy(disk, tree)
	return agent.Local{
		Journal: agent.Journal{Order: nodeops.Order{Generation: 5, Config: c.Digest()}, Phase: nodeops.Done, Current: c.Digest()},
		Configs: map[machine.Digest]machine.Config{"": {}, a.Digest(): a, b.Digest(): b, r.Digest(): r, c.Digest(): c},
		Kept:    agent.Kept{Originals: originals}, Disk: disk, Facts: facts,
		BootID: "one", Booted: agent.Booted{Kargs: c.KernelArgs, Image: c.OSImage}, Now: now,
	}
}

// going is a node on the way from a to a goal.
func going(goal machine.Config, s agent.Stage, actions ...impact.Action) agent.Local {
	l := at(a)
	l.Journal = agent.Journal{
		Stage: s, Order: nodeops.Order{Generation: 6, Config: goal.Digest()}, Phase: nodeops.Done,
		Current: a.Digest(), Goal: goal.Digest(), Actions: actions, Since: "one",
	}
	return l
}

func order(generation uint64, c machine.Config, ceiling impact.Kind) nodeops.Order {
	return nodeops.Order{Generation: generation, Config: c.Digest(), Ceiling: ceiling}
}

func until(o nodeops.Order, t time.Time) nodeops.Order { o.NotAfter = t; return o }

func change(l agent.Local, with func(*agent.Local)) agent.Local {
	l.Disk = maps.Clone(l.Disk)
	with(&l)
	return l
}

func drifted(l agent.Local) agent.Local {
	return change(l, func(l *agent.Local) {
		l.Disk["/etc/containers/policy.json"] = agent.Entry{Kind: agent.Regular, Mode: 0o644, Data: []byte("by hand")}
	})
}

func written(c machine.Config, l agent.Local) agent.Local {
	return change(l, func(l *agent.Local) {
		tree, _ := agent.TreeOf(c, l.Facts)
		maps.Copy(l.Disk, tree)
	})
}

func TestDecide(t *testing.T) {
	reboot := impact.Action{Kind: impact.Reboot, Cause: "kernelArguments"}
	booting := change(written(r, going(r, agent.Booting, reboot)), func(l *agent.Local) {
		l.Journal.Staging, l.Journal.AskedIn, l.Journal.Asked = true, "one", 1
	})
	rebooted := change(booting, func(l *agent.Local) { l.BootID, l.Booted = "two", agent.Booted{Kargs: []string{"quiet", "x=1"}} })
	undoing := change(going(b, agent.Writing), func(l *agent.Local) {
		l.Journal.Goal, l.Journal.Past, l.Journal.Phase, l.Journal.Why = a.Digest(), []machine.Digest{b.Digest()}, nodeops.Restored, "it broke"
	})
	refused := change(at(a), func(l *agent.Local) {
		l.Journal.Order = until(order(6, b, impact.Nothing), now.Add(-time.Hour))
		l.Journal.Phase, l.Journal.Why = nodeops.Expired, "late"
	})
	fresh := change(at(machine.Config{}), func(l *agent.Local) { l.Journal, l.Fresh = agent.Journal{}, true })
	answered := func(want nodeops.Order) agent.Local {
		return change(fresh, func(l *agent.Local) { l.Journal, l.Fresh = agent.Decide(want, b, fresh).Journal, false })
	}
	unremembered, permitted := answered(order(6, b, impact.Reload)), answered(until(order(6, b, impact.Reload), now.Add(time.Hour)))
	lost := change(at(a), func(l *agent.Local) { l.Journal, l.Lost, l.Fresh = agent.Journal{}, "it is damaged", true })
	for _, row := range []struct {
		name  string
		want  nodeops.Order
		have  agent.Local
		step  agent.Step
		phase nodeops.Phase  // of the report
		goal  machine.Config // of the journal to remember, unless at rest
		why   string         // a part of the report's reason
	}{
		{"no order yet", nodeops.Order{}, change(at(machine.Config{}), func(l *agent.Local) { l.Journal = agent.Journal{} }), agent.Idle, nodeops.Idle, a, ""},
		{"no order yet, and no memory", nodeops.Order{}, fresh, agent.Recall, nodeops.Idle, a, ""},
		{"no memory, and an order is there", order(6, r, impact.Reboot), fresh, agent.Refuse, nodeops.Expired, a, "no memory of before generation 6: order it anew"},
		{"no memory, and an order is there that is permitted still", until(order(6, b, impact.Reload), now.Add(time.Hour)), fresh, agent.Refuse, nodeops.Expired, a, "no memory"},
		{"unremembered, the same order again", order(6, b, impact.Reload), unremembered, agent.Idle, nodeops.Expired, a, "no memory"},
		{"unremembered, permitted for no longer", until(order(6, b, impact.Reload), now.Add(time.Hour)), permitted, agent.Idle, nodeops.Expired, a, "no memory"},
		{"unremembered, permitted for longer", until(order(6, b, impact.Reload), now.Add(2*time.Hour)), permitted, agent.Write, nodeops.Working, b, ""},
		{"unremembered, ordered anew", order(7, b, impact.Reload), unremembered, agent.Write, nodeops.Working, b, ""},
		{"a lost journal, and an order for another config", order(6, b, impact.Reload), lost, agent.Recall, nodeops.Expired, a, "no memory"},
		{"a lost journal, and an order for what the node is", order(6, a, impact.Reload), lost, agent.Recall, nodeops.Idle, a, ""},
		{"a lost journal, and a disk that is at no config", order(6, b, impact.Reload), drifted(lost), agent.Fail, nodeops.Failed, a, "at no config known here"},

		{"an older order is not heard", order(4, b, impact.Reboot), at(a), agent.Idle, nodeops.Done, a, ""},
		{"the same order again", order(5, a, impact.Reboot), at(a), agent.Idle, nodeops.Done, a, ""},
		{"the same config under a new generation", order(6, a, impact.Nothing), at(a), agent.Settle, nodeops.Done, a, ""},
		{"a new config within the ceiling", order(6, b, impact.Reload), at(a), agent.Write, nodeops.Working, b, "goes to config"},
		{"a new config above the ceiling", order(6, b, impact.Nothing), at(a), agent.Refuse, nodeops.Refused, a, "/etc/containers/policy.json asks for reload, and the order allows at most none"},
		{"a reboot where a restart was approved", order(6, r, impact.Restart), at(a), agent.Refuse, nodeops.Refused, a, "kernelArguments asks for reboot"},
		{"a restart by a rule of the order, where the table says reboot", ruled(order(6, app, impact.Restart)), at(a), agent.Write, nodeops.Working, app, ""},
		{"the same without the rule", order(6, app, impact.Restart), at(a), agent.Refuse, nodeops.Refused, a, "/etc/app asks for reboot"},
		{"more by a rule of the order than by the table", worsened(order(6, b, impact.Reload)), at(a), agent.Refuse, nodeops.Refused, a, "policy.json asks for reboot"},
		{"a rule of another version", strange(order(6, b, impact.Reboot)), at(a), agent.Refuse, nodeops.Refused, a, "cannot be read whole: rules: impact kind \"explode\" is not known: update this agent"},
		{"half way, an order with a rule of another version", strange(order(7, r, impact.Reboot)), going(b, agent.Writing), agent.Undo, nodeops.Working, a, "cannot be read whole"},
		{"half way, an order back with a rule of another version", strange(order(7, a, impact.Reboot)), going(b, agent.Writing), agent.Undo, nodeops.Working, a, ""},
		{"what no living node can become", order(6, blocked, impact.Impossible), at(a), agent.Refuse, nodeops.Refused, a, "storage.disks cannot be changed"},
		{"a user that the node has not", order(6, unknown, impact.Reboot), at(a), agent.Refuse, nodeops.Refused, a, `"/f": user "nobody-here" is not known`},
		{"a password", order(6, password, impact.Reboot), at(a), agent.Refuse, nodeops.Refused, a, "passwordHash"},
		{"content that is not its digest", order(6, b, impact.Reboot), change(at(a), func(l *agent.Local) { l.Unfit = "config 12: what came is config 34" }), agent.Refuse, nodeops.Refused, a, "what came"},
		{"a directory in a file's place", order(6, b, impact.Reboot), change(at(machine.Config{}), func(l *agent.Local) {
			l.Disk["/etc/containers/policy.json"] = agent.Entry{Kind: agent.Dir}
		}), agent.Refuse, nodeops.Refused, a, "is a directory"},
		{"a permit that is over", until(order(6, b, impact.Reload), now.Add(-time.Second)), at(a), agent.Refuse, nodeops.Expired, a, "not to begin after"},
		{"a permit that still holds", until(order(6, b, impact.Reload), now.Add(time.Second)), at(a), agent.Write, nodeops.Working, b, ""},
		{"an expired order, permitted for longer", until(order(6, b, impact.Reload), now.Add(time.Hour)), refused, agent.Write, nodeops.Working, b, ""},
		{"an expired order, permitted for ever", order(6, b, impact.Reload), refused, agent.Write, nodeops.Working, b, ""},
		{"an expired order, not permitted anew", until(order(6, b, impact.Reload), now.Add(-time.Hour)), refused, agent.Idle, nodeops.Expired, a, "late"},
		{"a drifted node takes nothing new", order(6, b, impact.Reload), drifted(at(a)), agent.Refuse, nodeops.Refused, a, "/etc/containers/policy.json holds 7 bytes"},
		{"a drifted node goes back to what it was before", order(6, b, impact.Reload), change(drifted(at(a)), func(l *agent.Local) { l.Journal.Previous = b.Digest() }), agent.Write, nodeops.Working, b, ""},
		{"a drifted node is repaired by its own config", order(6, a, impact.Reload), drifted(at(a)), agent.Write, nodeops.Working, a, ""},
		{"a repair above the ceiling", order(6, a, impact.Nothing), drifted(at(a)), agent.Refuse, nodeops.Refused, a, "reload"},
		{"a drifted node takes no new arguments either", order(6, machine.Config{KernelArgs: []string{"y"}}, impact.Reboot), drifted(at(a)), agent.Refuse, nodeops.Refused, a, "the node has drifted"},
		{"a drifted node gives the OS back", order(6, machine.Config{}, impact.Reload), drifted(at(a)), agent.Write, nodeops.Working, machine.Config{}, ""},

		{"killed while writing", order(6, b, impact.Reload), going(b, agent.Writing), agent.Write, nodeops.Working, b, ""},
		{"killed while writing, permit over by now", until(order(6, b, impact.Reload), now.Add(-time.Hour)), going(b, agent.Writing), agent.Write, nodeops.Working, b, ""},
		{"killed while acting", order(6, b, impact.Reload), written(b, going(b, agent.Acting)), agent.Act, nodeops.Working, b, ""},
		{"all is done, and it holds", order(6, b, impact.Reload), written(b, going(b, agent.Verifying)), agent.Settle, nodeops.Done, b, ""},
		{"all is done, and it does not hold", order(6, b, impact.Reload), going(b, agent.Verifying), agent.Undo, nodeops.Working, a, "did not hold: /etc/containers/policy.json"},
		{"a step that failed", order(6, b, impact.Reload), change(going(b, agent.Writing), func(l *agent.Local) { l.Trouble = "disk full" }), agent.Undo, nodeops.Working, a, "disk full"},
		{"an undo that failed", order(6, b, impact.Reload), change(undoing, func(l *agent.Local) { l.Trouble = "disk broken" }), agent.Fail, nodeops.Failed, a, "disk broken"},
		{"an undo that is tried again", order(6, b, impact.Reload), change(undoing, func(l *agent.Local) { l.Journal.Stuck = "disk broken" }), agent.Write, nodeops.Failed, a, "disk broken"},
		{"an undo that is done", order(6, b, impact.Reload), change(undoing, func(l *agent.Local) { l.Journal.Stage = agent.Verifying }), agent.Settle, nodeops.Restored, a, "it broke"},

		{"half way, a newer order", order(7, r, impact.Reboot), going(b, agent.Writing), agent.Write, nodeops.Working, r, ""},
		{"half way, a newer order above the ceiling", order(7, r, impact.Reload), going(b, agent.Writing), agent.Undo, nodeops.Working, a, "reboot"},
		{"half way, a newer order that is free from the old config, but not from the half-written one", order(7, free, impact.Nothing), going(b, agent.Writing), agent.Undo, nodeops.Working, a, "policy.json asks for reload"},
		{"the same from rest", order(7, free, impact.Nothing), at(a), agent.Write, nodeops.Working, free, ""},
		{"half way, an order back, with no ceiling to speak of", until(order(7, a, impact.Nothing), now.Add(-time.Hour)), going(b, agent.Writing), agent.Undo, nodeops.Working, a, ""},
		{"failed, an order back", order(7, a, impact.Nothing), change(undoing, func(l *agent.Local) { l.Journal.Stuck = "disk broken" }), agent.Undo, nodeops.Failed, a, ""},

		{"all is staged", order(6, r, impact.Reboot), written(r, going(r, agent.Booting, reboot)), agent.Reboot, nodeops.Working, r, ""},
		{"the reboot is under way", order(6, r, impact.Reboot), change(booting, func(l *agent.Local) { l.Waiting = true }), agent.Wait, nodeops.Working, r, ""},
		{"the reboot did not happen", order(6, r, impact.Reboot), booting, agent.Reboot, nodeops.Working, r, ""},
		{"the reboot did not happen again", order(6, r, impact.Reboot), change(booting, func(l *agent.Local) { l.Journal.Asked = agent.MaxAsked }), agent.Undo, nodeops.Working, a, "did not happen"},
		{"booted, and it holds", order(6, r, impact.Reboot), rebooted, agent.Settle, nodeops.Done, r, ""},
		{"booted without the argument", order(6, r, impact.Reboot), change(rebooted, func(l *agent.Local) { l.Booted.Kargs = nil }), agent.Undo, nodeops.Working, a, "x is not on the kernel command line"},
		{"booted, and a file has changed", order(6, r, impact.Reboot), drifted(rebooted), agent.Undo, nodeops.Working, a, "policy.json"},
		{"booted, and a newer order waits: first what was booted is judged", order(7, b, impact.Reboot), rebooted, agent.Settle, nodeops.Done, r, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			known := map[machine.Digest]machine.Config{
				a.Digest(): a, b.Digest(): b, r.Digest(): r, blocked.Digest(): blocked,
				unknown.Digest(): unknown, free.Digest(): free, app.Digest(): app, password.Digest(): password, machine.Config{}.Digest(): {},
			}
			if row.have.Unfit == "" {
				row.have.Configs[row.want.Config] = known[row.want.Config]
			}
			before := row.have.Journal
			job := agent.Decide(row.want, known[row.want.Config], row.have)
			if job.Step != row.step || job.Report.Phase != row.phase || !strings.Contains(job.Report.Why, row.why) {
				t.Errorf("step %s, report %s %q; want %s, %s %q", job.Step, job.Report.Phase, job.Report.Why, row.step, row.phase, row.why)
			}
			if row.have.Lost != "" && row.phase != nodeops.Idle && job.Report.Generation != row.want.Generation {
				t.Errorf("generation %d is told, want %d: whoever waits for it would wait for ever", job.Report.Generation, row.want.Generation)
			}
			if at, want := job.Journal.Goal, row.goal.Digest(); job.Journal.Stage != agent.Rest && at != want && !(at == "" && want == machine.Config{}.Digest()) {
				t.Errorf("goal %s, want %s", at.Short(), want.Short())
			}
			if !reflect.DeepEqual(before, row.have.Journal) {
				t.Error("the journal that was given has changed")
			}
		})
	}
}

// An undo reboots only a node that has booted since, and only if the way there did.
func TestUndoCosts(t *testing.T) {
	for _, row := range []struct {
		name    string
		goal    machine.Config
		boot    string
		then    agent.Stage
		deeds   int
		staging bool
	}{
		{"a reload is reloaded back", b, "one", agent.Verifying, 1, false},
		{"what was only staged is unstaged", r, "one", agent.Verifying, 0, true},
		{"what was booted is booted back", r, "two", agent.Booting, 0, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := going(row.goal, agent.Writing)
			l.BootID, l.Trouble = row.boot, "it broke"
			job := agent.Decide(l.Journal.Order, machine.Config{}, l)
			if job.Step != agent.Undo {
				t.Fatalf("step %s", job.Step)
			}
			l.Journal, l.Trouble = job.Journal, ""
			l.Journal.Stage = agent.Acting
			job = agent.Decide(l.Journal.Order, machine.Config{}, l)
			if job.Step != agent.Act || job.Then != row.then || len(job.Actions) != row.deeds || job.Journal.Staging != row.staging {
				t.Errorf("%s with %v, staging %v, then %s; want then %s", job.Step, job.Actions, job.Journal.Staging, job.Then, row.then)
			}
		})
	}
}

// What was done by the rules of one order is undone by them, also when the newer order that asks
// for the way back no longer has them, as the revert of a commit that brought both.
func TestUndoGoesByTheRulesOfWhatIsUndone(t *testing.T) {
	l := going(app, agent.Acting)
	l.Journal.Order = ruled(l.Journal.Order)
	l.Configs[app.Digest()] = app
	for _, row := range []struct {
		name string
		want nodeops.Order
		why  string
	}{
		{"it failed", l.Journal.Order, "it broke"},
		{"a newer order asks for the way back", order(7, a, impact.Reboot), ""},
		{"a newer order cannot be read", strange(order(7, a, impact.Reboot)), ""},
		{"a newer order is above its ceiling", order(7, r, impact.Nothing), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			have := l
			have.Trouble = row.why
			job := agent.Decide(row.want, r, have)
			want := []impact.Action{{Kind: impact.Restart, Unit: "app.service", Cause: "/etc/app"}}
			if job.Step != agent.Undo || !reflect.DeepEqual(job.Journal.Actions, want) || job.Journal.Staging {
				t.Errorf("%s with %v, staging %v", job.Step, job.Journal.Actions, job.Journal.Staging)
			}
		})
	}
}

// A rule may name several units, of which each node has one.
func TestTheUnitThatTheNodeHas(t *testing.T) {
	for _, row := range []struct{ has, want string }{
		{"k3s.service", "k3s.service"}, {"k3s-agent.service", "k3s-agent.service"}, {"neither.service", "k3s.service"},
	} {
		l := going(b, agent.Acting, impact.Action{Kind: impact.Restart, Unit: "k3s.service or k3s-agent.service", Cause: "/x"})
		l.Facts.Unit = func(name string) (string, string) {
			if name == row.has {
				return "/etc/systemd/system/" + name, "[Unit]\n"
			}
			return "", ""
		}
		job := agent.Decide(l.Journal.Order, machine.Config{}, written(b, l))
		if job.Step != agent.Act || len(job.Actions) != 1 || job.Actions[0].Unit != row.want {
			t.Errorf("on a node with %s: %s %v", row.has, job.Step, job.Actions)
		}
	}
}

func TestUnbooted(t *testing.T) {
	old := machine.Config{KernelArgs: []string{"quiet", "x=1"}, OSImage: "os:1"}
	for _, row := range []struct {
		name  string
		want  machine.Config
		gone  []machine.Config
		kargs string
		image string
		drift string
	}{
		{"nothing asked for", machine.Config{}, nil, "root=/ quiet", "os:0", ""},
		{"what is asked for is there, among others", old, nil, "root=/ quiet x=1", "os:1", ""},
		{"an argument is missing, and its value is not told", machine.Config{KernelArgs: []string{"secret=1"}}, nil, "quiet", "", "kernelArguments kargs secret is not on the kernel command line"},
		{"an argument is there once and asked for twice", machine.Config{KernelArgs: []string{"c=1", "c=1"}}, nil, "c=1", "", "kernelArguments kargs c is not on the kernel command line"},
		{"an argument of the config left is still there", machine.Config{}, []machine.Config{old}, "quiet x=1", "os:0", "kernelArguments kargs x is still on the kernel command line"},
		{"one that the machine came with may stay", machine.Config{}, []machine.Config{old}, "quiet", "os:0", ""},
		{"another image", old, nil, "quiet x=1", "os:2", "osImageURL image runs \"os:2\", expected \"os:1\""},
		{"the image of the config left", machine.Config{}, []machine.Config{old}, "quiet", "os:1", "osImageURL image runs \"os:1\", expected \"\""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			for _, d := range agent.Unbooted(row.want, row.gone, agent.Booted{Image: row.image, Kargs: strings.Fields(row.kargs)}, agent.Booted{Kargs: []string{"quiet"}}) {
				got = append(got, d.Path+" "+string(d.Kind)+" "+d.Why)
			}
			if strings.Join(got, "; ") != row.drift {
				t.Errorf("got %q, want %q", got, row.drift)
			}
		})
	}
}
