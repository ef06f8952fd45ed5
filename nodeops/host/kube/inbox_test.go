package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop/hosttest"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

func TestInbox(t *testing.T) {
	hosttest.Inboxes(t, func(t *testing.T) hosttest.InboxRig {
		w := newWorld(t)
		in, out := w.inbox(w.home())
		return hosttest.InboxRig{
			Inbox: in, Send: w.send, Keep: out.keep, Told: w.told, Spoil: w.spoil,
			Count: func() int { return int(w.writes.Load()) },
		}
	})
}

var (
	order  = nodeops.Order{Node: "w1", Generation: 1, Config: wanted.Digest(), Ceiling: impact.Reboot}
	report = nodeops.Report{Generation: 1, Config: wanted.Digest(), Phase: nodeops.Done, BootID: "b"}
)

// A write that comes between a look and its report is not lost, and the report is.
func TestTellYieldsToOtherWriters(t *testing.T) {
	w := newWorld(t)
	in, _ := w.inbox(w.home())
	if _, err := in.Order(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.send(order)
	w.must(in.Tell(t.Context(), report))
	home := w.is()
	if got, err := home.Spec.Order("w1"); err != nil || !reflect.DeepEqual(got, order) {
		t.Errorf("the order that came in between is %+v, %v", got, err)
	}
	if got := w.told(); !reflect.DeepEqual(got, report) {
		t.Errorf("the report is %+v", got)
	}
	// The conditions speak of the object as it was told of, the order included.
	for _, c := range home.Status.Conditions {
		if c.Type == "Ready" && (c.Status != "True" || c.ObservedGeneration != home.Generation) {
			t.Errorf("the condition is %+v of generation %d", c, home.Generation)
		}
	}
}

func TestAnAgentBeforeItsNodeConfig(t *testing.T) {
	w := newWorld(t)
	in, out := w.inbox(w.home())
	w.remove()
	look := func() nodeops.Order {
		t.Helper()
		got, err := in.Order(t.Context())
		w.must(err)
		w.must(in.Tell(t.Context(), report))
		return got
	}
	for range 3 {
		if got := look(); got.Generation != 0 {
			t.Errorf("without a NodeConfig there is the order %+v", got)
		}
	}
	if n := out.count("there is no NodeConfig"); n != 1 || w.writes.Load() != 0 || w.reads.Load() != 3 {
		t.Errorf("it is said %d times, with %d reads and %d writes", n, w.reads.Load(), w.writes.Load())
	}
	w.home()
	w.send(order)
	if got := look(); got.Generation != 1 || !reflect.DeepEqual(w.told(), report) {
		t.Errorf("then there is %+v, and it tells %+v", got, w.told())
	}
	w.remove() // between its look and its report
	w.must(in.Tell(t.Context(), nodeops.Report{Generation: 2, Phase: nodeops.Done}))
	if n := out.count("there is no NodeConfig"); n != 2 {
		t.Errorf("gone again, it is said %d times in all", n)
	}
}

// The order of an earlier node of the name was approved for another life of it: drained, and in time.
func TestTheNodeConfigOfAnEarlierNode(t *testing.T) {
	w := newWorld(t)
	uid := w.home()
	w.send(order)
	in, out := w.inbox("of the node that is there now")
	for range 2 {
		if got, err := in.Order(t.Context()); err != nil || got.Generation != 0 {
			t.Errorf("it obeys %+v, %v", got, err)
		}
		w.must(in.Tell(t.Context(), report))
	}
	if got := w.told(); !reflect.DeepEqual(got, nodeops.Report{}) || out.count("earlier node") != 1 {
		t.Errorf("it tells %+v there, and says so %d times", got, out.count("earlier node"))
	}
	write(t, in.Content.Token, tokenOf(uid))
	if got, err := in.Order(t.Context()); err != nil || got.Generation != 1 {
		t.Errorf("its own order is %+v, %v", got, err)
	}
	unbound, _ := w.inbox("") // a token that names no node, of a cluster before 1.30
	if got, err := unbound.Order(t.Context()); err != nil || got.Generation != 1 {
		t.Errorf("without a node in the token: %+v, %v", got, err)
	}
}

// Whatever happened on the node, the server takes the report.
func TestTellIsBounded(t *testing.T) {
	w := newWorld(t)
	in, _ := w.inbox(w.home())
	endless := nodeops.Report{Generation: 1, Phase: nodeops.Failed, Why: strings.Repeat("why\xff", 1<<16)}
	for range 20000 {
		endless.Drift = append(endless.Drift, nodeops.Drift{Path: "/x", Kind: nodeops.DriftMode, Why: strings.Repeat("w", 1<<13)})
	}
	before, _ := json.Marshal(endless)
	for range 2 {
		if _, err := in.Order(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.must(in.Tell(t.Context(), endless))
	}
	got := w.told()
	n := len(got.Drift)
	if n < 10 || !strings.HasSuffix(got.Drift[n-1].Why, fmt.Sprintf("; and %d more", len(endless.Drift)-n)) || w.writes.Load() != 1 {
		t.Errorf("%d drifts, the last says %q; %d writes", n, got.Drift[n-1].Why, w.writes.Load())
	}
	if after, _ := json.Marshal(endless); string(before) != string(after) {
		t.Error("the report itself was changed")
	}
}

// An order wakes the agent, and so does whoever writes its status; what it writes itself does not.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	in, _ := w.inbox(w.home())
	w.remove()
	if _, err := in.Order(t.Context()); err != nil {
		t.Fatal(err)
	}
	woken := make(chan struct{}, 100)
	go in.Watch(t.Context(), func() { woken <- struct{}{} })
	wakes := func(what string) {
		t.Helper()
		select {
		case <-woken:
		case <-time.After(2 * time.Minute):
			t.Fatalf("nobody is woken by %s", what)
		}
		for len(woken) > 0 {
			<-woken
		}
	}
	look := func() {
		t.Helper()
		_, err := in.Order(t.Context())
		w.must(err)
		w.must(in.Tell(t.Context(), report))
	}
	w.home()
	wakes("a NodeConfig")
	look()
	w.send(order)
	wakes("an order")
	look()
	w.spoil()
	wakes("a foreign status")
	look()
	w.cut.Store(true)
	w.way.CloseClientConnections()
	if _, err := in.Order(t.Context()); err == nil {
		t.Fatal("somebody answers")
	}
	for len(woken) > 0 { // by what it has written itself, perhaps
		<-woken
	}
	w.cut.Store(false)
	wakes("a server that is back")
}

// What it has written itself is no news, though its event comes only after the next was written.
func TestOwnWritesAreNoNews(t *testing.T) {
	w := newWorld(t)
	in, _ := w.inbox(w.home())
	_, err := in.Order(t.Context())
	w.must(err)
	foreign := in.home.ResourceVersion
	var own []string
	for n := range 3 {
		w.must(in.Tell(t.Context(), nodeops.Report{Generation: uint64(n + 1), Phase: nodeops.Working, BootID: "one"}))
		own = append(own, in.home.ResourceVersion)
	}
	for _, version := range own {
		if in.news(version) {
			t.Errorf("of %v, %s wakes", own, version)
		}
	}
	if !in.news(foreign) {
		t.Error("what others wrote does not")
	}
}

// A server that is lost to a thousand agents is not asked by all of them at once, nor ever more often.
func TestPause(t *testing.T) {
	for _, row := range []struct {
		failed int
		least  time.Duration
	}{
		{0, breather}, {1, 2 * breather}, {3, 8 * breather}, {4, longest}, {1 << 20, longest},
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			got := pause(row.failed)
			if got < row.least || got >= 2*row.least {
				t.Errorf("after %d attempts it waits %s, want %s and at most as much again", row.failed, got, row.least)
			}
			seen[got] = true
		}
		if len(seen) < 50 {
			t.Errorf("after %d attempts all wait for the same time", row.failed)
		}
	}
}

// What the server says of the time is the time: an order is in time by its clock.
func TestClock(t *testing.T) {
	w := newWorld(t)
	in, out := w.inbox(w.home())
	clock := in.Client.Clock
	if _, known := clock.Skew(); known || time.Until(clock.Now()).Abs() > time.Second {
		t.Errorf("before an answer it is %s by the server", clock.Now())
	}
	for _, row := range []struct {
		name         string
		ahead        time.Duration
		said, unsaid int
	}{
		{"as the server is", 0, 0, 0},
		{"a little behind", -20 * time.Second, 0, 0},
		{"ahead by an hour", time.Hour, 1, 0},
		{"still", time.Hour, 1, 0},
		{"right again", 0, 1, 1},
		{"behind by a minute", -time.Minute, 2, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			date := time.Now().Add(-row.ahead).UTC().Format(http.TimeFormat)
			w.date.Store(&date)
			if _, err := in.Order(t.Context()); err != nil {
				t.Fatal(err)
			}
			// Slow answers are not believed, so on a busy machine ask once more.
			w.await("the clock is heard", func() bool {
				date := time.Now().Add(-row.ahead).UTC().Format(http.TimeFormat)
				w.date.Store(&date)
				in.Order(t.Context())
				ahead, known := clock.Skew()
				return known && (ahead-row.ahead).Abs() < 10*time.Second
			})
			if off := clock.Now().Sub(time.Now().Add(-row.ahead)).Abs(); off > 10*time.Second {
				t.Errorf("the server's time is off by %s", off)
			}
			if a, b := out.count("is off"), out.count("right again"); a != row.said || b != row.unsaid {
				t.Errorf("said %d times that it is off, %d times that it is right", a, b)
			}
		})
	}
}

func TestOrderSaysWhenNobodyAnswers(t *testing.T) {
	w := newWorld(t)
	in, _ := w.inbox(w.home())
	w.cut.Store(true)
	if o, err := in.Order(t.Context()); err == nil || !reflect.DeepEqual(o, nodeops.Order{}) {
		t.Errorf("%+v, %v", o, err)
	}
	if err := in.Tell(t.Context(), report); err == nil {
		t.Error("it was told to nobody")
	}
	w.cut.Store(false)
	w.must(in.Tell(t.Context(), report)) // and may be told before it is asked
	if got := w.told(); !reflect.DeepEqual(got, report) {
		t.Errorf("then it tells %+v", got)
	}
	if _, err := in.Config(t.Context(), machine.Config{}.Digest()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("a config that is not kept: %v", err)
	}
}
