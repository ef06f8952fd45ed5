package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
)

// pairs is a Fleet whose calls each wait for another of their kind, as only hands beside one another
// bring about.
type pairs struct {
	Fleet
	mu   sync.Mutex
	did  []string
	meet map[string]chan struct{}
}

func (p *pairs) call(kind string) error {
	p.mu.Lock()
	p.did = append(p.did, kind)
	other, waits := p.meet[kind]
	if !waits {
		other = make(chan struct{})
		p.meet[kind] = other
	}
	p.mu.Unlock()
	if waits {
		close(other)
		return errors.New("no")
	}
	<-other
	return nil
}

func (p *pairs) Send(context.Context, nodeops.Order) error     { return p.call("send") }
func (p *pairs) Drain(context.Context, reconciler.Drain) error { return p.call("drain") }
func (p *pairs) Uncordon(_ context.Context, _ string) error    { return p.call("uncordon") }

// patient is a Fleet whose drains go on; one of a node named ill fails.
type patient struct{ Fleet }

func (patient) Drain(_ context.Context, d reconciler.Drain) error {
	if d.Node == "ill" {
		return errors.New("no")
	}
	return nil
}

// A drain is repeated at every tick; the log has what is new.
func TestTheLogHasADrainOnce(t *testing.T) {
	var log bytes.Buffer
	l := &Loop{Fleet: patient{}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	until := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		drains []reconciler.Effect
		want   int
	}{
		{"two begin", []reconciler.Effect{reconciler.Drain{Node: "a", Until: until}, reconciler.Drain{Node: "b"}}, 2},
		{"they go on", []reconciler.Effect{reconciler.Drain{Node: "a", Until: until}, reconciler.Drain{Node: "b"}}, 0},
		{"the same instant is no change", []reconciler.Effect{reconciler.Drain{Node: "a", Until: until.In(time.FixedZone("", 3600))}, reconciler.Drain{Node: "b"}}, 0},
		{"one may force", []reconciler.Effect{reconciler.Drain{Node: "a", Force: true}, reconciler.Drain{Node: "b"}}, 1},
		{"pods leave otherwise", []reconciler.Effect{reconciler.Drain{Node: "a", Force: true}, reconciler.Drain{Node: "b", Pods: []policy.Pods{{}}}}, 1},
		{"one that fails has not begun", []reconciler.Effect{reconciler.Drain{Node: "ill"}}, 0},
		{"it begins again", []reconciler.Effect{reconciler.Drain{Node: "b", Pods: []policy.Pods{{}}}}, 1},
	} {
		log.Reset()
		l.move(t.Context(), c.drains)
		if got := strings.Count(log.String(), "msg=drain"); got != c.want {
			t.Errorf("%s: %d lines, want %d: %s", c.name, got, c.want, &log)
		}
	}
}

// Nodes are given back before others are taken, whatever stands first, and several are at once.
func TestSeveralHandsGiveBackFirst(t *testing.T) {
	fleet := &pairs{meet: map[string]chan struct{}{}}
	l := &Loop{Fleet: fleet, Hands: 2, Log: slog.New(slog.DiscardHandler)}
	moved, errs := l.move(t.Context(), []reconciler.Effect{
		reconciler.Drain{Node: "w1"},
		reconciler.Send{},
		reconciler.Uncordon{Node: "w2"},
		reconciler.Drain{Node: "w3"},
		reconciler.Send{},
		reconciler.Uncordon{Node: "w4"},
	})
	if want := []string{"uncordon", "uncordon", "send", "send", "drain", "drain"}; !slices.Equal(fleet.did, want) {
		t.Errorf("did %v, want %v", fleet.did, want)
	}
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if !moved || len(errs) != 3 {
		t.Errorf("moved %t, errors %v: want one of each kind", moved, fmt.Sprint(errs))
	}
}
