package hosttest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// InboxRig is an inbox of the node w1 and the other end of it.
type InboxRig struct {
	Inbox loop.Inbox
	Send  func(nodeops.Order)       // what the controller orders
	Keep  func(machine.Config)      // what it keeps for the order that was sent last
	Told  func() (r nodeops.Report) // what stands there as the node's report; zero: nothing
	Spoil func()                    // somebody else changes what stands there
	Count func() (written int)      // how often a report was written so far
}

// Inboxes tests an inbox. Open gives a new one, without an order.
func Inboxes(t *testing.T, open func(t *testing.T) InboxRig) {
	ctx := context.Background()
	config := machine.Config{KernelArgs: []string{"a"}, Files: []machine.File{{Path: "/x", Mode: 0o644, Contents: []byte("x")}}}
	order := nodeops.Order{
		Node: "w1", Generation: 7, Config: config.Digest(), Ceiling: impact.Drain, NotAfter: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		Rules: []impact.Rule{{Path: "/x", Actions: []impact.Action{{Kind: impact.Reload, Unit: "x.service"}}}},
	}
	t.Run("no order is no mistake", func(t *testing.T) {
		if got, err := open(t).Inbox.Order(ctx); err != nil || !reflect.DeepEqual(got, nodeops.Order{}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("the newest order comes whole", func(t *testing.T) {
		rig := open(t)
		for _, sent := range []nodeops.Order{order, {Node: "w1", Generation: 8, Config: config.Digest(), Ceiling: impact.Reboot}} {
			rig.Send(sent)
			if got, err := rig.Inbox.Order(ctx); err != nil || !reflect.DeepEqual(got, sent) {
				t.Errorf("sent %+v, got %+v, %v", sent, got, err)
			}
		}
	})
	t.Run("a config comes by its digest, and nothing else does", func(t *testing.T) {
		rig := open(t)
		rig.Send(order)
		if _, err := rig.Inbox.Config(ctx, config.Digest()); err == nil {
			t.Error("a config that is not kept came")
		}
		rig.Keep(config)
		if got, err := rig.Inbox.Config(ctx, config.Digest()); err != nil || got.Digest() != config.Digest() {
			t.Errorf("%+v, %v", got, err)
		}
	})
	reports(t, open)
}

// reports tests the way back.
func reports(t *testing.T, open func(t *testing.T) InboxRig) {
	ctx := context.Background()
	report := nodeops.Report{
		Generation: 7, Config: machine.Config{}.Digest(), Phase: nodeops.Refused, BootID: "b", Why: "no",
		Drift: []nodeops.Drift{{Path: "/x", Kind: nodeops.DriftMode, Why: "is 0600"}},
	}
	tell := func(t *testing.T, rig InboxRig, r nodeops.Report) {
		t.Helper()
		if _, err := rig.Inbox.Order(ctx); err != nil { // as the loop does, before it tells
			t.Fatal(err)
		}
		if err := rig.Inbox.Tell(ctx, r); err != nil {
			t.Fatal(err)
		}
		if got := rig.Told(); !reflect.DeepEqual(got, r) {
			t.Errorf("told %+v, it stands there as %+v", r, got)
		}
	}
	t.Run("a report stands there whole, and then the next", func(t *testing.T) {
		rig := open(t)
		tell(t, rig, report)
		tell(t, rig, nodeops.Report{Generation: 8, Phase: nodeops.Done})
	})
	t.Run("what stands there already is not written again", func(t *testing.T) {
		rig := open(t)
		tell(t, rig, report)
		before := rig.Count()
		tell(t, rig, report)
		tell(t, rig, report)
		if n := rig.Count() - before; before == 0 || n != 0 {
			t.Errorf("written %d times, it is written %d times more", before, n)
		}
	})
	t.Run("what somebody else changed is put right", func(t *testing.T) {
		rig := open(t)
		tell(t, rig, report)
		rig.Spoil()
		tell(t, rig, report)
	})
}
