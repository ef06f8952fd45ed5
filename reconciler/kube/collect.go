package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluice-gitops/sluice/machine"
)

const (
	young    = time.Hour // a config that was kept since stays, and so often they are looked through
	lastKept = 10        // so many that were kept last stay
)

// Collect deletes the configs of this fleet that nothing names, but for the last ten and what is
// young; of what was half written, too. It never deletes what anybody may come to order:
//
//  1. It looks at what there is. 2. It writes to the state, which fails where another has saved: who
//     loads it from now on has not looked at any config yet. 3. It asks which configs the orders and
//     reports of all nodes name. 4. It deletes what is just as it was in 1: who keeps a config in
//     order to name it changes it.
func (s *Store) Collect(ctx context.Context, now time.Time, named []machine.Digest) (err error) {
	if age := now.Sub(s.collected); s.version == "" || !s.collected.IsZero() && age >= 0 && age < young {
		return nil
	}
	defer func() {
		if err == nil {
			s.collected = now
		}
	}()
	there, err := s.shelves(ctx)
	if err != nil {
		return err
	}
	keep := map[machine.Digest]bool{}
	for _, d := range named {
		keep[d] = true
	}
	if len(garbage(there, keep, now)) == 0 {
		return nil
	}
	if err := s.claim(ctx, now); err != nil {
		return err
	}
	homes, err := s.Client.configs.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list NodeConfigs: %w", err)
	}
	for i := range homes.Items { // also of those that the fleet cannot read
		keep[machine.Digest(homes.Items[i].Spec.Config)] = true
		keep[machine.Digest(homes.Items[i].Status.Config)] = true
	}
	var errs []error
	gone := garbage(there, keep, now)
	for _, c := range gone {
		errs = append(errs, s.drop(ctx, c))
	}
	if s.Log != nil && len(gone) > 0 {
		s.Log.Info("configs that nothing names are deleted", "configs", len(gone))
	}
	return errors.Join(errs...)
}

// shelved is a config as its Secrets show it.
type shelved struct {
	digest machine.Digest
	at     time.Time // when it was last kept, or written to
	whole  bool      // the first piece is there
	pieces []metav1.ObjectMeta
}

// shelves are all configs of this fleet, the one kept last first. Their contents are not read.
func (s *Store) shelves(ctx context.Context) ([]*shelved, error) {
	mine := labels.SelectorFromSet(labels.Set{fleetLabel: s.Fleet}).String()
	secrets, err := s.Client.meta.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: mine})
	if err != nil {
		return nil, fmt.Errorf("list configs: %w", err)
	}
	byDigest := map[machine.Digest]*shelved{}
	var all []*shelved
	for i := range secrets.Items {
		meta := secrets.Items[i].ObjectMeta
		name, ours := strings.CutPrefix(meta.Name, "config-")
		of, number, _ := strings.Cut(name, "-")
		if d := machine.Digest(of); !ours || !digest.MatchString(of) {
			continue
		} else if byDigest[d] == nil {
			byDigest[d] = &shelved{digest: d}
			all = append(all, byDigest[d])
		}
		c := byDigest[machine.Digest(of)]
		c.whole = c.whole || number == "0"
		c.pieces = append(c.pieces, meta)
		at, _ := time.Parse(time.RFC3339Nano, meta.Annotations[keptAt])
		for _, t := range []time.Time{at, meta.CreationTimestamp.Time} {
			if t.After(c.at) {
				c.at = t
			}
		}
	}
	slices.SortFunc(all, func(a, b *shelved) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.digest, b.digest)) })
	for _, c := range all { // the first piece first: where it is, all are
		slices.SortFunc(c.pieces, func(a, b metav1.ObjectMeta) int {
			return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
		})
	}
	return all, nil
}

// garbage is what may go, of configs of which the one kept last comes first.
func garbage(there []*shelved, keep map[machine.Digest]bool, now time.Time) (out []*shelved) {
	whole := 0
	for _, c := range there {
		if c.whole {
			whole++
		}
		if keep[c.digest] || now.Sub(c.at) < young || c.whole && whole <= lastKept {
			continue
		}
		out = append(out, c)
	}
	return out
}

// claim writes to the state, if it is still the one that this store knows.
func (s *Store) claim(ctx context.Context, now time.Time) error {
	patch := fmt.Appendf(nil, `{"metadata": {"resourceVersion": %q, "annotations": {"sluice.dev/collected-at": %q}}}`, s.version, stamp(now))
	secret, err := s.Client.core.CoreV1().Secrets(s.Namespace).Patch(ctx, s.name(), types.MergePatchType, patch, patching)
	if err != nil {
		return fmt.Errorf("claim secret %s/%s: %w", s.Namespace, s.name(), err)
	}
	s.version = secret.ResourceVersion
	return nil
}

// drop deletes a config that nobody has touched. One of which the first piece has changed stays
// whole: it is needed again.
func (s *Store) drop(ctx context.Context, c *shelved) error {
	for _, p := range c.pieces {
		as := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID, ResourceVersion: &p.ResourceVersion}}
		err := s.Client.core.CoreV1().Secrets(s.Namespace).Delete(ctx, p.Name, as)
		switch {
		case apierrors.IsConflict(err):
			return nil
		case err != nil && !apierrors.IsNotFound(err):
			return fmt.Errorf("delete config %s: %w", c.digest.Short(), err)
		}
	}
	return nil
}
