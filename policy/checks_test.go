package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/nodeops/impact"
	"github.com/sluice-gitops/sluice/source"
)

func TestChecks(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ada := source.Approval{By: "ada", Commit: "h2", Teams: []string{"acme/sre"}}
	bob := source.Approval{By: "Bob", Commit: "h2"}
	eve := source.Approval{By: "eve", Commit: "h2"}
	approved := func(a Approvals, given ...source.Approval) Request {
		return Request{Commit: "c1", Rollout: Rollout{Approvals: &a}, Facts: Facts{Review: &source.Review{Proposal: 7, Author: "eve", Head: "h2", Approvals: given}}}
	}
	two, sre := Approvals{Count: 2}, Approvals{Count: 1, From: []string{"Acme/SRE", "bob"}}
	older := source.Approval{By: "ada", Commit: "h1"}

	signedBy := func(s *Signature) Request {
		return Request{Commit: "c1", Failing: true, Begun: true, Rollout: Rollout{Signed: true}, Facts: Facts{Signature: s}}
	}
	costs := func(kind impact.Kind, reviewed map[string]impact.Kind) Request {
		return Request{Pool: "worker", Rollout: Rollout{RequirePreviewMatch: true}, Actions: []impact.Action{{Kind: kind}}, Facts: Facts{Reviewed: reviewed}}
	}
	web, ready := HealthGate{Name: "web", HTTP: "https://example.com"}, HealthGate{Name: "peers", Nodes: "Ready"}
	asked := func(p *Probe, gates ...HealthGate) Request {
		r := Request{Now: now, Rollout: Rollout{Health: gates}, Facts: Facts{Probes: map[HealthGate]Probe{}}}
		if p != nil {
			r.Facts.Probes[web] = *p
		}
		return r
	}
	well := &Probe{Healthy: true, At: now.Add(-time.Minute)}
	with := func(r Request, change func(*Request)) Request { change(&r); return r }
	failing := func(r *Request) { r.Failing, r.Begun = true, true }
	begun := func(r *Request) { r.Begun = true }
	etcd := func(members int, down ...string) Request {
		return Request{Node: "m1", Quorum: &Quorum{Members: members, Down: down}}
	}
	held := func(h Hold) Request { return Request{Pool: "worker", Now: now, Holds: []Hold{h}} }
	cel := func(text string) Request {
		r := asked(well, web, HealthGate{Name: "x", Expression: text})
		r.Pool, r.Nodes, r.Unavailable, r.Zone, r.Commit = "worker", 5, []string{"w2"}, "a", "c1"
		r.Actions = []impact.Action{{Kind: impact.Reboot}}
		return r
	}
	var all strings.Builder
	all.WriteString("true")
	for range 5 {
		all.WriteString(" && [1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, a+b+c+d < 99))))")
	}

	for _, c := range []struct {
		name  string
		check func(Request) (Outcome, string)
		r     Request
		want  Outcome
		says  string
	}{
		{"no hold", hold, Request{Now: now}, Allow, ""},
		{"a hold of the pool", hold, held(Hold{Pool: "worker", By: "ada", Reason: "audit"}), Wait, "held by ada until it is released (audit)"},
		{"a hold of every pool, for a time", hold, held(Hold{By: "ada", Reason: "audit", Until: now.Add(time.Hour)}), Wait, "until 2026-11-23 13:00:00 UTC (audit)"},
		{"a hold of another pool", hold, held(Hold{Pool: "edge"}), Allow, ""},
		{"a hold whose time is over", hold, held(Hold{Until: now}), Allow, ""},
		{"a hold stops repairs, too", hold, with(held(Hold{By: "ada"}), failing), Wait, "held by ada"},

		{"nobody need agree", approvals, Request{}, Allow, ""},
		{"nobody knows who agreed", approvals, Request{Commit: "c1", Rollout: Rollout{Approvals: &two}}, Wait, "is not known"},
		{"a commit that was pushed", approvals, Request{Rollout: Rollout{Approvals: &two}, Facts: Facts{Review: &source.Review{}}}, Wait, "no pull request brought"},
		{"enough people", approvals, approved(two, ada, bob), Allow, ""},
		{"one is not two", approvals, approved(two, ada), Wait, "1 of 2 approvals for h2 in pull request 7"},
		{"one person twice is one", approvals, approved(two, ada, source.Approval{By: "ADA", Commit: "h2"}), Wait, "1 of 2"},
		{"the author is nobody", approvals, approved(two, ada, eve), Wait, "1 of 2"},
		{"what was approved was pushed over", approvals, approved(two, older, bob), Wait, "1 of 2"},
		{"a member of a team", approvals, approved(sre, ada), Allow, ""},
		{"a user, whatever the case of the name", approvals, approved(sre, bob), Allow, ""},
		{"somebody else", approvals, approved(sre, source.Approval{By: "mal", Commit: "h2", Teams: []string{"acme/dev"}}), Wait, "0 of 1 approvals of Acme/SRE, bob"},
		{"a broken node opens no door for what nobody approved", approvals, with(approved(two), failing), Wait, "0 of 2"},

		{"nobody need sign", signed, Request{}, Allow, ""},
		{"a trusted key", signed, signedBy(&Signature{By: "ada"}), Allow, ""},
		{"no trusted key", signed, signedBy(&Signature{Why: "it is not signed"}), Deny, "it is not signed"},
		{"nobody knows the signature", signed, signedBy(nil), Wait, "is not known"},

		{"as its preview said", previewMatch, costs(impact.Reboot, map[string]impact.Kind{"worker": impact.Reboot}), Allow, ""},
		{"less than its preview said", previewMatch, costs(impact.Reload, map[string]impact.Kind{"worker": impact.Reboot}), Allow, ""},
		{"worse than its preview said", previewMatch, costs(impact.Reboot, map[string]impact.Kind{"worker": impact.Reload}), Wait, "it costs reboot, and its preview said reload"},
		{"its preview did not speak of the pool", previewMatch, costs(impact.Reload, map[string]impact.Kind{"edge": impact.Reboot}), Wait, "its preview said none"},
		{"no preview", previewMatch, costs(impact.Reload, nil), Wait, "no preview of commit"},
		{"a repair costs what it must", previewMatch, with(costs(impact.Reboot, nil), failing), Allow, ""},
		{"no match is asked for", previewMatch, with(costs(impact.Reboot, nil), func(r *Request) { r.Rollout.RequirePreviewMatch = false }), Allow, ""},

		{"a gate that is open", health, asked(well, web), Allow, ""},
		{"a gate without an answer", health, asked(nil, web), Wait, `health gate "web" has no answer yet`},
		{"a gate that is closed", health, asked(&Probe{Why: "it answers 503", At: now}, web), Wait, `health gate "web" is closed: it answers 503`},
		{"an answer that is old", health, asked(&Probe{Healthy: true, At: now.Add(-3 * time.Minute)}, web), Wait, "no answer since 2026-11-23 11:57:00 UTC"},
		{"an answer from the future", health, asked(&Probe{Healthy: true, At: now.Add(time.Hour)}, web), Wait, "no answer since"},
		{"the answer to another question of the same name", health, asked(well, HealthGate{Name: "web", HTTP: "https://example.org"}), Wait, "no answer yet"},
		{"every closed gate is heard", health, asked(nil, web, HealthGate{Name: "b", Query: "up"}), Wait, `"b" has no answer yet`},
		{"a node that was begun is finished", health, with(asked(nil, web), begun), Allow, ""},
		{"nodes that are Ready", health, asked(nil, ready), Allow, ""},
		{"nodes that are not", health, with(asked(nil, ready), func(r *Request) { r.Stage.Lacking = map[string][]string{"Ready": {"w1", "w2"}} }), Wait, `health gate "peers" is closed: w1, w2 not Ready`},

		{"three of three", quorum, etcd(3), Allow, ""},
		{"one of three is down", quorum, etcd(3, "m2"), Wait, "1 of 3 members, and needs 2; down already: m2"},
		{"one of five is down", quorum, etcd(5, "m2"), Allow, ""},
		{"two of five are down", quorum, etcd(5, "m2", "m3"), Wait, "2 of 5"},
		{"it is drained, and its member runs still", quorum, with(etcd(3, "m1", "m2"), begun), Wait, "1 of 3"},
		{"it alone is down", quorum, etcd(3, "m1"), Allow, ""},
		{"the only member", quorum, etcd(1), Warn, "0 of the 1 members that it needs while node m1 is away"},
		{"one of two", quorum, etcd(2), Warn, "1 of the 2"},
		{"one of two, and the other is down", quorum, etcd(2, "m2"), Wait, "down already: m2"},
		{"the repair of a member", quorum, with(etcd(3, "m1", "m2"), failing), Allow, ""},
		{"no member", quorum, Request{Node: "w1"}, Allow, ""},

		{"an expression that holds", expression, cel("pool.unavailable < 2 && node.zone == 'a' && node.cost == 'reboot' && probes.web.healthy && revision.commit == 'c1'"), Allow, ""},
		{"an expression that does not", expression, cel("now.getDayOfWeek('Europe/Berlin') != 1"), Wait, `health gate "x" is closed: now.getDay`},
		{"an expression that divides by nothing", expression, cel("1 / (pool.nodes - 5) > 0"), Wait, "division by zero"},
		{"an expression about a gate that is not there", expression, cel("probes.wbe.healthy"), Wait, "no such key: wbe"},
		{"an expression without end", expression, cel(all.String()), Wait, "cost limit"},
		{"an expression that nobody checked", expression, cel("pool.nope"), Wait, "undefined field 'nope'"},
		{"an expression about a node that was begun", expression, with(cel("false"), begun), Allow, ""},
		{"approvals and signatures", expression, with(cel("'ada' in revision.approvals && !('eve' in revision.approvals) && revision.signedBy == 'k' && revision.proposal == 7"), func(r *Request) {
			r.Facts.Review = &source.Review{Proposal: 7, Author: "eve", Head: "h2", Approvals: []source.Approval{ada, eve}}
			r.Facts.Signature = &Signature{By: "k"}
		}), Allow, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why := c.check(c.r)
			if got != c.want || !strings.Contains(why, c.says) || (got == Allow) != (why == "") {
				t.Errorf("%v %q, want %v with %q", got, why, c.want, c.says)
			}
		})
	}
}

func TestANodeStartsOnlyIfItIsBackBeforeTheEnd(t *testing.T) {
	day := func(hour, minute int) time.Time { return time.Date(2026, 11, 23, hour, minute, 0, 0, time.UTC) }
	noon := Rollout{Windows: []Window{{Schedule: "0 12 * * *", Duration: "1h"}, {Schedule: "0 18 * * *", Duration: "2h"}, {Schedule: "0 20 * * *", Duration: "2h"}}}
	overrun := noon
	overrun.Overrun = "allow"
	frozen := noon
	frozen.Freezes = []Freeze{{From: day(12, 20), To: day(13, 0)}}
	reboot, reload := []impact.Action{{Kind: impact.Reboot}}, []impact.Action{{Kind: impact.Reload}}
	for _, c := range []struct {
		name string
		r    Request
		want Outcome
		says string
	}{
		{"it fits", Request{Rollout: noon, Now: day(12, 30), Expected: 30 * time.Minute}, Allow, ""},
		{"it does not fit any more", Request{Rollout: noon, Now: day(12, 31), Expected: 30 * time.Minute}, Wait, "expected to take 30m0s, and the window ends 2026-11-23 13:00 UTC; there is room from 2026-11-23 18:00 UTC"},
		{"a freeze ends the window, too", Request{Rollout: frozen, Now: day(12, 0), Expected: 30 * time.Minute}, Wait, "room from 2026-11-23 18:00"},
		{"two windows without a gap are one", Request{Rollout: noon, Now: day(19, 0), Expected: 150 * time.Minute}, Allow, ""},
		{"a long one waits for the two", Request{Rollout: noon, Now: day(12, 0), Expected: 200 * time.Minute}, Wait, "room from 2026-11-23 18:00"},
		{"one that never fits is said, and starts", Request{Rollout: noon, Now: day(12, 0), Expected: 5 * time.Hour}, Warn, "no window within a year is as long"},
		{"but not outside", Request{Rollout: noon, Now: day(14, 0), Expected: 5 * time.Hour}, Wait, "outside every window"},
		{"overrun is allowed, and said", Request{Rollout: overrun, Now: day(12, 59), Expected: time.Hour}, Warn, "may run past the window's end at 2026-11-23 13:00 UTC"},
		{"where it fits nothing is said", Request{Rollout: overrun, Now: day(12, 0), Expected: time.Hour}, Allow, ""},
		{"but no start outside", Request{Rollout: overrun, Now: day(13, 0), Expected: time.Hour}, Wait, "outside every window"},
		{"a node that was begun goes on", Request{Rollout: noon, Now: day(12, 59), Expected: time.Hour, Begun: true}, Allow, ""},
		{"but not outside, either", Request{Rollout: noon, Now: day(13, 0), Expected: time.Hour, Begun: true}, Wait, "outside every window"},
		{"without a window everything fits", Request{Now: day(12, 0), Expected: 100 * time.Hour}, Allow, ""},
		{"a reboot that nobody has measured needs twelve minutes", Request{Rollout: noon, Now: day(12, 49), Actions: reboot}, Wait, "12m0s"},
		{"a reload one", Request{Rollout: noon, Now: day(12, 59), Actions: reload}, Allow, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why := window(c.r)
			if got != c.want || !strings.Contains(why, c.says) || (got == Allow) != (why == "") {
				t.Errorf("%v %q, want %v with %q", got, why, c.want, c.says)
			}
		})
	}
}

func TestMistakesInTheGatesAreNamed(t *testing.T) {
	gate := func(g HealthGate) Rollout { g.Name = "g"; return Rollout{Health: []HealthGate{g}} }
	long := strings.Repeat("1 + ", 2000) + "1 > 0"
	for _, c := range []struct {
		field, says string
		r           Rollout
	}{
		{"overrun", "perhaps", Rollout{Overrun: "perhaps"}},
		{"drain.timeout", "soon", Rollout{Drain: &Drain{Timeout: "soon"}}},
		{"drain.timeout", "0s", Rollout{Drain: &Drain{Timeout: "0s"}}},
		{"drain.timeout", "longer than 24h", Rollout{Drain: &Drain{Timeout: "25h"}}},
		{"drain.onTimeout", "halt, skipNode, force", Rollout{Drain: &Drain{OnTimeout: "pray"}}},
		{"drain.pods[0].action", "is missing", Rollout{Drain: &Drain{Pods: []Pods{{}}}}},
		{"drain.pods[1].action", "evict, skip, wait, block", Rollout{Drain: &Drain{Pods: []Pods{{Action: "evict"}, {Action: "kill"}}}}},
		{"drain.pods[0].labels", `"a b" is no key`, Rollout{Drain: &Drain{Pods: []Pods{{Action: "skip", Labels: map[string]string{"a b": ""}}}}}},
		{"drain.pods[0].labels", `"Example.com/a" is no key`, Rollout{Drain: &Drain{Pods: []Pods{{Action: "skip", Labels: map[string]string{"Example.com/a": ""}}}}}},
		{"drain.pods[0].labels", `"-" is no value`, Rollout{Drain: &Drain{Pods: []Pods{{Action: "skip", Labels: map[string]string{"a": "-"}}}}}},
		{"drain.pods[0].namespace", `"A"`, Rollout{Drain: &Drain{Pods: []Pods{{Action: "skip", Namespace: "A"}}}}},
		{"canary.labels", `"a b" is no key`, Rollout{Canary: &Canary{Labels: map[string]string{"a b": ""}}}},
		{"health[0].name", "is missing", Rollout{Health: []HealthGate{{Nodes: "Ready"}}}},
		{"health[1].name", "twice", Rollout{Health: []HealthGate{{Name: "a", Nodes: "Ready"}, {Name: "a", Nodes: "Ready"}}}},
		{"health[0]", "asks 0 questions", gate(HealthGate{})},
		{"health[0]", "asks 2 questions", gate(HealthGate{Nodes: "Ready", Query: "up"})},
		{"health[0].http", "no address", gate(HealthGate{HTTP: "ftp://example.com"})},
		{"health[0].http", "no address", gate(HealthGate{HTTP: "https://"})},
		{"health[0].http", "no address", gate(HealthGate{HTTP: "/ready"})},
		{"health[0].http", "credentials", gate(HealthGate{HTTP: "https://a:b@example.com"})},
		{"health[0].alerts", "no regular expression", gate(HealthGate{Alerts: "("})},
		{"health[0].nodes", "no condition", gate(HealthGate{Nodes: "Ready or not"})},
		{"health[0].expression", "column 6: undefined field 'size'", gate(HealthGate{Expression: " pool.size > 1"})},
		{"health[0].expression", "must say true or false", gate(HealthGate{Expression: "pool.name"})},
		{"health[0].expression", "longer than 4096", gate(HealthGate{Expression: long})},
		{"health[0].expression", `there is no probe "wbe"`, gate(HealthGate{Expression: "pool.nodes < 3 || probes.wbe.healthy"})},
		{"health[0].expression", `there is no probe "shop.eu"`, gate(HealthGate{Expression: "!(probes['shop.eu'].known)"})},
		{"health[0].expression", `there is no probe "g"`, gate(HealthGate{Expression: "probes.g.healthy"})},
		{"soak", "longer than 720h", Rollout{Soak: "721h"}},
		{"canary.soak", "longer than 720h", Rollout{Canary: &Canary{Soak: "30000h"}}},
		{"health[0].timeout", "soon", gate(HealthGate{Query: "up", Timeout: "soon"})},
		{"health[0].timeout", "longer than 30s", gate(HealthGate{Query: "up", Timeout: "1m"})},
		{"health[0].timeout", "no meaning", gate(HealthGate{Nodes: "Ready", Timeout: "1s"})},
		{"approvals.count", "0 asks nobody", Rollout{Approvals: &Approvals{}}},
		{"approvals.count", "3 can never be reached", Rollout{Approvals: &Approvals{Count: 3, From: []string{"ada", "bob"}}}},
		{"approvals.from[0]", "neither a user nor ORG/TEAM", Rollout{Approvals: &Approvals{Count: 1, From: []string{"@ada"}}}},
		{"approvals.from[0]", "neither", Rollout{Approvals: &Approvals{Count: 1, From: []string{"acme/"}}}},
		{"approvals.from[1]", "twice", Rollout{Approvals: &Approvals{Count: 1, From: []string{"ada", "Ada"}}}},
	} {
		wrong := c.r.Problems()
		if len(wrong) != 1 || wrong[0].Field != c.field || !strings.Contains(wrong[0].Why, c.says) {
			t.Errorf("got %+v, want %s: %s", wrong, c.field, c.says)
		}
	}
}

// What may be missing when the policy is read, and what nobody can know then, is no mistake.
func TestAnExpressionMayAskWhatIsThere(t *testing.T) {
	web := HealthGate{Name: "web", Nodes: "Ready"}
	for name, text := range map[string]string{
		"a gate of the policy":          "probes.web.healthy && probes['web'].known",
		"a probe that it asks for":      "!has(probes.shop) || probes.shop.healthy",
		"a probe that it asks for, too": "!('shop' in probes) || probes['shop'].healthy",
		"all probes":                    "probes.all(name, probes[name].healthy)",
		"a name that is put together":   "probes['we' + 'b'].healthy",
		"a probe that it looks for":     "!probes.exists(p, p == 'shop') || probes.shop.healthy",
		"a word of its own":             "[{'shop': true}].all(probes, probes.shop)",
		"a zone":                        "node.zone != 'nowhere'",
		"a pool":                        "pool.name != 'nobody'",
	} {
		r := Rollout{Soak: "720h", Health: []HealthGate{{Name: "x", Expression: text}, web}}
		if wrong := r.Problems(); len(wrong) > 0 {
			t.Errorf("%s: %+v", name, wrong)
		}
	}
}
