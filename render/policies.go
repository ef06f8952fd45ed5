package render

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/policy"
)

// rollout is a RolloutPolicy and the pools that it names; none are those of its build.
type rollout struct {
	name, file string
	at         place
	spec       policy.Rollout
	pools      []string
	written    string // the document, to tell one policy that two builds include from two policies
}

func (r *reader) rollout(u *universe, file string, encoded []byte) {
	var in struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta          `json:"metadata"`
		Spec            map[string]json.RawMessage `json:"spec"`
	}
	wrong := manifest.Decode(encoded, &in)
	p := rollout{name: in.Metadata.Name, file: file, at: r.now, written: string(encoded)}
	if p.name == "" {
		wrong = append(wrong, manifest.Error{Field: "metadata.name", Why: "is missing"})
	}
	if named, set := in.Spec["pools"]; set {
		wrong = append(wrong, below("spec.pools", manifest.Decode(named, &p.pools))...)
		delete(in.Spec, "pools")
	}
	rest, err := json.Marshal(in.Spec)
	if err != nil {
		wrong = append(wrong, manifest.Error{Field: "spec", Why: err.Error()})
	} else {
		wrong = append(wrong, below("spec", manifest.Decode(rest, &p.spec))...)
	}
	for _, e := range wrong {
		r.fail(file, e.Field, "%s", e.Why)
	}
	if len(wrong) > 0 {
		return
	}
	for _, problem := range p.spec.Problems() {
		r.fail(file, "spec."+problem.Field, "%s", problem.Why)
	}
	u.policies = append(u.policies, p)
}

// below moves mistakes to where the decoded part stands.
func below(prefix string, errs manifest.Errors) manifest.Errors {
	for i := range errs {
		if errs[i].Field == "" {
			errs[i].Field = prefix
		} else {
			errs[i].Field = prefix + "." + errs[i].Field
		}
	}
	return errs
}

// policies finds the one policy of each pool.
func (r *reader) policies(all []universe, pools []taken) map[string]policy.Rollout {
	out := map[string]policy.Rollout{}
	by := map[string]rollout{}
	for _, u := range all {
		for _, p := range u.policies {
			for _, name := range r.targets(u, p, pools) {
				if other, set := by[name]; set && (other.file != p.file || other.written != p.written) {
					r.failIn(p.at, p.file, "spec.pools", "pool %s has the RolloutPolicy %s of %s already", name, other.name, other.file)
					continue
				}
				by[name], out[name] = p, p.spec
			}
			r.after(p, pools)
		}
	}
	r.circles(by)
	return out
}

// after refuses to wait for a pool that is not there: it would be for ever.
func (r *reader) after(p rollout, pools []taken) {
	for _, name := range p.first() {
		if !slices.ContainsFunc(pools, func(t taken) bool { return t.name == name }) {
			r.failIn(p.at, p.file, "spec.order.after", "there is no pool %q to wait for: correct the name, or leave it out", name)
		}
	}
}

// circles refuses pools that wait for each other, each circle once.
func (r *reader) circles(by map[string]rollout) {
	said := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		round := circle(by, name)
		if said[name] || round == nil {
			continue
		}
		for _, n := range round {
			said[n] = true
		}
		p := by[name]
		if len(round) == 1 {
			r.failIn(p.at, p.file, "spec.order.after", "pool %s would wait for itself: leave it out, or give the pool a RolloutPolicy of its own", name)
			continue
		}
		r.failIn(p.at, p.file, "spec.order.after", "pool %s would wait for ever: it comes after pool %s, which comes after pool %s: take one of them out of an order.after",
			name, strings.Join(round[1:], ", which comes after pool "), name)
	}
}

// circle is the shortest way from a pool back to itself, along what it comes after; nil is none.
func circle(by map[string]rollout, start string) []string {
	seen := map[string]bool{}
	for ways := [][]string{{start}}; len(ways) > 0; ways = ways[1:] {
		way := ways[0]
		for _, next := range by[way[len(way)-1]].first() {
			if next == start {
				return way
			}
			if !seen[next] {
				seen[next] = true
				ways = append(ways, append(slices.Clone(way), next))
			}
		}
	}
	return nil
}

// first are the pools that must have landed before those of the policy.
func (p rollout) first() []string {
	if p.spec.Order == nil {
		return nil
	}
	return p.spec.Order.After
}

func (r *reader) targets(u universe, p rollout, pools []taken) []string {
	for _, name := range p.pools {
		if !slices.ContainsFunc(pools, func(t taken) bool { return t.name == name }) {
			r.failIn(p.at, p.file, "spec.pools", "there is no pool %s", name)
		}
	}
	if len(p.pools) > 0 {
		return p.pools
	}
	var own []string
	for _, t := range pools {
		if t.dir == u.dir {
			own = append(own, t.name)
		}
	}
	return own
}

// Rollout reads one RolloutPolicy by itself, as policy commands do. Mistakes come back as Errors.
func Rollout(doc Document) (policy.Rollout, error) {
	r := newReader(Options{})
	p, err := r.alone(doc)
	return p.spec, err
}

// Guardrail reads the RolloutPolicy that every pool of a fleet obeys. What it cannot say is
// refused, since it would be taken for a rule that holds. Mistakes come back as Errors.
func Guardrail(doc Document) (policy.Rollout, error) {
	r := newReader(Options{})
	p, err := r.alone(doc)
	if err != nil {
		return policy.Rollout{}, err
	}
	if len(p.pools) > 0 {
		r.failIn(p.at, p.file, "spec.pools", "every pool obeys a guardrail: leave it out")
	}
	if len(p.spec.Impact) > 0 {
		r.failIn(p.at, p.file, "spec.impact", "what a change costs is the repository's to say: leave it out")
	}
	return p.spec, r.failed()
}

// alone reads the one RolloutPolicy of a document.
func (r *reader) alone(doc Document) (rollout, error) {
	u := r.read(Build{Documents: []Document{doc}})
	switch {
	case len(r.errs) > 0:
	case len(u.policies) == 0:
		r.fail(doc.File, "kind", "holds no RolloutPolicy (sluice.dev/v1alpha1)")
	case len(u.policies) > 1:
		r.fail(doc.File, "kind", "holds %d RolloutPolicies: give one", len(u.policies))
	default:
		return u.policies[0], nil
	}
	return rollout{}, r.failed()
}
