package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// history builds a record, a version for each moment.
type history struct{ Record }

func (h *history) add(m Moment) uint64 {
	m.Version = uint64(len(h.Moments) + 1)
	h.Moments = append(h.Moments, m)
	return m.Version
}

func (h *history) node(name string, n Node) uint64 {
	n.Pool = "worker"
	return h.add(Moment{Name: name, Node: &n})
}

func (h *history) pod(name, node string) uint64 {
	return h.add(Moment{Name: name, Pod: &Pod{Node: node, App: "shop", Works: true}})
}

var (
	idle    = Node{Ready: true, BootID: "1"}
	drained = Node{Ready: true, BootID: "1", Closed: true, Mark: "f"}
	down    = Node{BootID: "1", Closed: true, Mark: "f"}
	back    = Node{Ready: true, BootID: "2", Closed: true, Mark: "f"}
	done    = Node{Ready: true, BootID: "2"}
	foreign = Node{Ready: true, BootID: "1", Closed: true}
)

func lease(at int, who, holder string) Call { return call(at, who, "leases", "l", 200, holder) }

func call(at int, who, resource, name string, code int, holder string) Call {
	t := time.Unix(int64(at), 0)
	return Call{At: t, Done: t.Add(time.Millisecond), Who: who, Account: controllerAccount, Verb: "update", Resource: resource, Name: name, Code: code, Holder: holder}
}

// proper is a rollout with nothing to complain of.
func proper() *history {
	h := &history{}
	for _, name := range []string{"a", "b", "c"} {
		h.node(name, idle)
	}
	h.pod("x/1", "b")
	h.pod("x/2", "c")
	for _, n := range []Node{drained, down, back, done} {
		h.node("a", n)
	}
	h.node("c", foreign)
	h.Hands = append(h.Hands, h.node("c", idle))
	h.add(Moment{Name: "a", Order: &Order{UID: "u", Generation: 1, Config: "x"}})
	h.add(Moment{Name: "a", Order: &Order{UID: "u", Generation: 1, Config: "x", Heard: 1}})
	h.Calls = []Call{lease(1, "one", "1"), call(2, "one", "nodes", "a", 200, ""), lease(5, "two", "2"), call(6, "two", "nodes", "a", 200, ""), call(7, "one", "secrets", "f-state", 409, "")}
	return h
}

func TestTheJudgeBarksAtEveryBrokenPromise(t *testing.T) {
	rows := []struct {
		name string
		bend func(*history)
		want string // "": nothing to complain of
	}{
		{"a rollout as it should be", func(*history) {}, ""},
		{"a second node is taken where one may be away", func(h *history) { h.node("a", drained); h.node("b", drained); h.node("a", done); h.node("b", idle) }, "budget: version 15: node b"},
		{"a node that is not ready counts", func(h *history) { h.node("a", Node{BootID: "2"}); h.node("b", drained); h.node("b", idle) }, "these are: a"},
		{"somebody else's cordon counts", func(h *history) { h.node("c", foreign); h.node("b", drained); h.node("b", idle) }, "these are: c"},
		{"what others close above the budget is not ours", func(h *history) { h.node("b", foreign); h.node("c", foreign) }, ""},
		{"a node that is away already may be taken", func(h *history) {
			h.node("a", Node{BootID: "2"})
			h.node("b", Node{BootID: "1"})
			h.node("b", down)
			h.node("b", idle)
			h.node("a", done)
		}, ""},
		{"a foreign cordon is lifted", func(h *history) { h.node("b", foreign); h.node("b", idle) }, "somebody else has on node b is lifted"},
		{"a foreign cordon is taken over", func(h *history) { h.node("b", foreign); h.node("b", drained); h.node("b", idle) }, "on node b is taken over"},
		{"a cordon of ours is left", func(h *history) { h.node("b", drained) }, "node b is left closed"},
		{"a mark of ours is left", func(h *history) { h.node("b", Node{Ready: true, BootID: "1", Mark: "f"}) }, "node b is open and still marked"},
		{"a taint of ours is left", func(h *history) { h.node("b", Node{Ready: true, BootID: "1", Tainted: true}) }, "node b is still tainted"},
		{"a node reboots at work", func(h *history) { h.node("b", Node{Ready: true, BootID: "9"}) }, "node b reboots without"},
		{"a node reboots with a pod on it", func(h *history) {
			h.node("b", drained)
			h.node("b", Node{Ready: true, BootID: "9", Closed: true, Mark: "f"})
			h.node("b", Node{Ready: true, BootID: "9"})
		}, "with pod x/1 on it"},
		{"too few pods work", func(h *history) { h.add(Moment{Name: "x/1", Gone: true, Pod: &Pod{App: "shop"}}) }, "1 pods of shop work"},
		{"an older order", func(h *history) { h.add(Moment{Name: "a", Order: &Order{UID: "u", Config: "x", Heard: 1}}) }, "had order 1 and gets 0"},
		{"an order of one number changes", func(h *history) {
			h.add(Moment{Name: "a", Order: &Order{UID: "u", Generation: 1, Config: "y", Heard: 1}})
		}, "order 1 of node a changes"},
		{"a node forgets an order", func(h *history) { h.add(Moment{Name: "a", Order: &Order{UID: "u", Generation: 1, Config: "x"}}) }, "goes back to 0"},
		{"a new node of the name begins anew", func(h *history) { h.add(Moment{Name: "a", Order: &Order{UID: "v"}}) }, ""},
		{"a deposed controller writes", func(h *history) { h.Calls = append(h.Calls, call(8, "one", "pods/eviction", "p", 201, "")) }, "controller one is granted update pods/eviction p"},
		{"a deposed controller's eviction is refused by a budget only", func(h *history) { h.Calls = append(h.Calls, call(8, "one", "pods/eviction", "p", 429, "")) }, "asks for update pods/eviction p"},
		{"one that never held the lease writes", func(h *history) { h.Calls = append(h.Calls, call(8, "three", "secrets", "config-1", 201, "")) }, "controller three"},
		{"one that gave the lease back writes", func(h *history) {
			h.Calls = append(h.Calls, lease(8, "two", ""), call(9, "two", "nodes", "a", 200, ""))
		}, `while "" holds`},
		{"a replica serves without the lease", func(h *history) { h.Calls = append(h.Calls, call(8, "one", "tokenreviews", "", 201, "")) }, ""},
		{"a deposed controller looks", func(h *history) {
			c := call(8, "one", "nodes", "a", 200, "")
			c.Verb = "get"
			h.Calls = append(h.Calls, c)
		}, ""},
		{"a right is missing", func(h *history) { h.Calls = append(h.Calls, call(8, "two", "events", "e", 403, "")) }, "is refused update events"},
		{"a server that starts does not know the rights yet", func(h *history) {
			h.Calls = append(h.Calls, call(8, "two", "events", "e", 403, ""))
			h.Dark = []Span{{time.Unix(5, 0), time.Unix(9, 0)}}
		}, ""},
		{"an agent writes another node's status", func(h *history) {
			h.Calls = append(h.Calls, Call{Account: agentAccount, Verb: "update", Node: "a", Resource: "nodeconfigs/status", Name: "b", Code: 200})
		}, `agent of node "a"`},
		{"a pod is deleted, not evicted", func(h *history) {
			c := call(8, "two", "pods", "p", 200, "")
			c.Verb = "delete"
			h.Calls = append(h.Calls, c)
		}, "deletes pod"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			h := proper()
			row.bend(h)
			got := h.judge(map[string]int{"worker": 1}, "l").complaints
			if row.want == "" && len(got) > 0 || row.want != "" && !strings.Contains(strings.Join(got, "\n"), row.want) {
				t.Errorf("the judge says %q, want %q", got, row.want)
			}
		})
	}
}

func TestARecordSinceAVersionBeginsWithTheWorldAsItWas(t *testing.T) {
	h := proper()
	at := uint64(len(h.Moments))
	h.node("b", drained)
	h.node("b", Node{Ready: true, BootID: "3", Closed: true, Mark: "f"})
	h.node("b", Node{Ready: true, BootID: "3"})
	count, order, _ := h.Since(at).Reboots()
	if fmt.Sprint(count, order) != "map[b:1] [b]" {
		t.Errorf("since then these rebooted: %v, in the order %v", count, order)
	}
}

func TestCallsAreReadFromAnAuditLog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	text := `{"verb":"update","user":{"username":"u","extra":{"authentication.kubernetes.io/credential-id":["JTI=1"],"authentication.kubernetes.io/node-name":["n"]}},"objectRef":{"resource":"leases","namespace":"ns","name":"l"},"responseStatus":{"code":200},"requestObject":{"spec":{"holderIdentity":"h"}},"requestReceivedTimestamp":"2026-01-01T00:00:02.000000Z","stageTimestamp":"2026-01-01T00:00:02.000100Z"}
{"verb":"create","user":{"username":"u"},"objectRef":{"resource":"pods","subresource":"eviction","name":"p"},"responseStatus":{"code":429},"requestReceivedTimestamp":"2026-01-01T00:00:01.000000Z"}
{"verb":"upd`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	calls, err := readCalls(file)
	if err != nil || len(calls) != 2 {
		t.Fatalf("it holds %v, %v", calls, err)
	}
	if c := calls[0]; c.Resource != "pods/eviction" || c.Code != 429 || c.done() {
		t.Errorf("the first is %+v", c)
	}
	if c := calls[1]; c.Who != "JTI=1" || c.Node != "n" || c.Holder != "h" || c.Done.Sub(c.At) != 100*time.Microsecond {
		t.Errorf("the second is %+v", c)
	}
}
