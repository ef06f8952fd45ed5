package facts

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/source"
)

// forge answers with what stands in it, and counts.
type forge struct {
	review source.Review
	err    error
	asked  int
	teams  []string
}

func (f *forge) Review(_ context.Context, _ string, teams []string) (source.Review, error) {
	f.asked++
	f.teams = teams
	return f.review, f.err
}

type commits struct {
	asked int
	err   error
}

func (c *commits) Signed(context.Context, string) ([]byte, string, error) {
	c.asked++
	return []byte("x"), "", c.err
}

func TestNothingIsAskedThatNobodyWants(t *testing.T) {
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer s.Close()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f, c := &forge{review: source.Review{Proposal: 7}}, &commits{}
	q := &Inquiry{Web: &Web{}, Keys: &Keys{}, Commits: c, Forge: f, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}
	head := source.Revision{Commit: "c1"}
	look := func(rules ...policy.Rollout) policy.Facts { return q.Look(context.Background(), head, rules) }

	plain := policy.Rollout{Soak: "5m", Health: []policy.HealthGate{{Name: "n", Nodes: "Ready"}}}
	if got := look(plain, plain); got.Review != nil || got.Signature != nil || len(got.Probes) != 0 || f.asked+c.asked+int(hits.Load()) != 0 {
		t.Errorf("%+v after %d, %d and %d questions", got, f.asked, c.asked, hits.Load())
	}
	gate := policy.HealthGate{Name: "a", HTTP: s.URL}
	all := policy.Rollout{Signed: true, Approvals: &policy.Approvals{Count: 1, From: []string{"acme/sre", "ada"}}, Health: []policy.HealthGate{gate}}
	holds := func(what string, facts policy.Facts, forge, commits, web int) {
		t.Helper()
		if facts.Review == nil || facts.Signature == nil || !facts.Probes[gate].Healthy {
			t.Errorf("%s: %+v", what, facts)
		}
		if diff := cmp.Diff([]int{forge, commits, web}, []int{f.asked, c.asked, int(hits.Load())}); diff != "" {
			t.Errorf("%s: questions to the forge, to Git and to the web: %s", what, diff)
		}
	}
	holds("two policies ask one thing once", look(all, all), 1, 1, 1)
	if diff := cmp.Diff([]string{"acme/sre"}, f.teams); diff != "" {
		t.Error(diff)
	}
	now = now.Add(9 * time.Second)
	holds("a moment later", look(all), 1, 1, 1)
	now = now.Add(2 * time.Second)
	holds("the gate is asked again", look(all), 1, 1, 2)
	now = now.Add(20 * time.Second)
	holds("and then the forge", look(all), 2, 1, 3)
	now = now.Add(-time.Hour)
	holds("a clock that is set back", look(all), 3, 1, 4)
	head.Commit = "c2"
	holds("another commit", look(all), 4, 2, 4)
}

func TestSilenceIsNotKnown(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f, c := &forge{err: errors.New("502")}, &commits{err: errors.New("gone")}
	q := &Inquiry{Keys: &Keys{}, Commits: c, Forge: f, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}
	all := []policy.Rollout{{Signed: true, Approvals: &policy.Approvals{Count: 1}}}
	look := func() policy.Facts { return q.Look(context.Background(), source.Revision{Commit: "c1"}, all) }
	if got := look(); got.Review != nil || got.Signature != nil {
		t.Errorf("nobody answers, and %+v is known", got)
	}
	if look(); f.asked != 1 {
		t.Errorf("a forge that does not answer is asked %d times at once", f.asked)
	}
	now, f.err = now.Add(time.Minute), nil
	if look().Review == nil {
		t.Error("the forge answers again, and is not heard")
	}
	now, f.err = now.Add(9*time.Minute), errors.New("502")
	if look().Review == nil {
		t.Error("what the forge said some minutes ago is forgotten")
	}
	now = now.Add(2 * time.Minute)
	if look().Review != nil {
		t.Error("what the forge said long ago still stands")
	}
	bare := &Inquiry{Now: q.Now}
	if got := bare.Look(context.Background(), source.Revision{Commit: "c1"}, all); got.Review != nil || got.Signature != nil {
		t.Errorf("nothing is configured, and %+v is known", got)
	}
}
