// Package facts looks up what checks need to know of the world beside the fleet: approvals,
// signatures, and the answers of health gates.
package facts

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/source"
)

// Commits reads what was signed.
type Commits interface {
	// Signed is the bytes of a commit that its signature covers, and the signature, armored; ""
	// when it has none.
	Signed(ctx context.Context, commit string) (payload []byte, signature string, err error)
}

// Forge tells how a commit came to the followed branch.
type Forge interface {
	// Review tells of the pull request that brought a commit; its Proposal is 0 when none did.
	// Of the teams, as ORG/TEAM, each approval names those that its author is in.
	Review(ctx context.Context, commit string, teams []string) (source.Review, error)
}

const (
	probed   = 10 * time.Second // how long the answer of a gate stands
	reviewed = 30 * time.Second // how long the forge's does
	stands   = 10 * time.Minute // and when the forge does not answer meanwhile
	longest  = 30 * time.Second // for all gates together: the controller does nothing else meanwhile
	abreast  = 8                // gates that are asked at a time
)

// Inquiry asks for facts, one Look at a time. Its fields are set once; nil and zero stand for what
// is not configured, and what asks for it stays closed.
type Inquiry struct {
	Web        *Web
	Prometheus *Prometheus
	Keys       *Keys
	Commits    Commits
	Forge      Forge
	Now        func() time.Time
	Log        *slog.Logger

	probes map[policy.HealthGate]policy.Probe

	signed    string // the commit of the signature
	signature *policy.Signature

	commit   string // of the review
	review   *source.Review
	asked    time.Time // when the forge was last asked
	answered time.Time
}

// Look finds out what the rules want to know about a revision. It asks for nothing that none of
// them wants, and for nothing that was answered a moment ago. What nobody says in time is absent.
func (q *Inquiry) Look(ctx context.Context, revision source.Revision, rules []policy.Rollout) policy.Facts {
	var f policy.Facts
	var gates []policy.HealthGate
	var teams []string
	signed, approvals := false, false
	for _, r := range rules {
		signed = signed || r.Signed
		approvals = approvals || r.RequirePreviewMatch && q.Forge != nil // which pull request it was
		if r.Approvals != nil {
			approvals = true
			teams = append(teams, r.Approvals.Teams()...)
		}
		for _, g := range r.Health {
			if g.HTTP != "" || g.Alerts != "" || g.Query != "" {
				gates = append(gates, g)
			}
			if g.Expression != "" { // it may speak of either, where there is anybody to ask
				signed, approvals = signed || q.Keys != nil, approvals || q.Forge != nil
			}
		}
	}
	if signed {
		f.Signature = q.sign(ctx, revision.Commit)
	}
	if approvals {
		slices.Sort(teams)
		f.Review = q.ask(ctx, revision.Commit, slices.Compact(teams))
	}
	f.Probes = q.probe(ctx, gates)
	return f
}

// sign checks a commit's signature once: it never becomes another.
func (q *Inquiry) sign(ctx context.Context, commit string) *policy.Signature {
	if q.Keys == nil || q.Commits == nil {
		return nil
	}
	if q.signature != nil && q.signed == commit {
		return q.signature
	}
	payload, armored, err := q.Commits.Signed(ctx, commit)
	if err != nil {
		q.Log.Warn("the signature of a commit cannot be read", "commit", source.Short(commit), "error", err)
		return nil
	}
	s := q.Keys.Check(payload, armored, q.Now())
	q.signed, q.signature = commit, &s
	return &s
}

// ask asks the forge who agreed.
func (q *Inquiry) ask(ctx context.Context, commit string, teams []string) *source.Review {
	if q.Forge == nil {
		return nil
	}
	now := q.Now()
	if q.commit != commit {
		q.commit, q.review, q.asked = commit, nil, time.Time{}
	}
	if q.asked.IsZero() || now.Sub(q.asked).Abs() >= reviewed {
		q.asked = now
		review, err := q.Forge.Review(ctx, commit, teams)
		if err != nil {
			q.Log.Warn("the forge does not say who approved a commit", "commit", source.Short(commit), "error", err)
		} else {
			q.review, q.answered = &review, now
		}
	}
	if q.review != nil && now.Sub(q.answered).Abs() >= stands {
		q.review = nil
	}
	return q.review
}

// probe asks the gates that have no answer of late, some at a time. Answers that nobody asks for
// any more are forgotten.
func (q *Inquiry) probe(ctx context.Context, gates []policy.HealthGate) map[policy.HealthGate]policy.Probe {
	ctx, stop := context.WithTimeout(ctx, longest)
	defer stop()
	found := map[policy.HealthGate]policy.Probe{}
	var mu sync.Mutex
	var group sync.WaitGroup
	turns := make(chan struct{}, abreast)
	asked := map[policy.HealthGate]bool{}
	for _, g := range gates {
		if asked[g] {
			continue
		}
		asked[g] = true
		if p, ok := q.probes[g]; ok && q.Now().Sub(p.At).Abs() < probed {
			mu.Lock()
			found[g] = p
			mu.Unlock()
			continue
		}
		group.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			healthy, why := q.answer(ctx, g)
			mu.Lock()
			defer mu.Unlock()
			found[g] = policy.Probe{Healthy: healthy, Why: why, At: q.Now()}
		})
	}
	group.Wait()
	q.probes = found
	return found
}

func (q *Inquiry) answer(ctx context.Context, g policy.HealthGate) (healthy bool, why string) {
	ctx, stop := context.WithTimeout(ctx, g.Wait())
	defer stop()
	switch {
	case g.HTTP != "" && q.Web == nil:
		return false, "this controller asks no addresses"
	case g.HTTP != "":
		return q.Web.get(ctx, g.HTTP)
	case q.Prometheus == nil:
		return false, "no Prometheus is configured (sluice run --prometheus URL)"
	case g.Alerts != "":
		return q.Prometheus.quiet(ctx, g.Alerts, q.Now())
	}
	return q.Prometheus.holds(ctx, g.Query, q.Now())
}
