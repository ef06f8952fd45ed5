package kube

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/reconciler"
)

// A Fleet names a Secret that is made a while later: the guardrail that came with it is in force after a
// look, and not before.
func TestAFleetWhoseTroubleIsGoneIsReadyAfterALook(t *testing.T) {
	fleet := &v1alpha1.Fleet{ObjectMeta: metav1.ObjectMeta{Name: "f", UID: "u", Generation: 4}}
	text := TextOf(fleet)
	b := &Board{refused: text, taken: Text{"u", 3}, state: &reconciler.State{Good: followed("1111111aaaa")}}
	fleet.Spec.Source.URL = b.state.Good.Repo
	if s := b.standing(fleet); s.Type != v1alpha1.Reconciling {
		t.Errorf("before the look it says %+v", s)
	}
	b.Take(text)
	if s := b.standing(fleet); s.Reason != "Following" {
		t.Errorf("after it it says %+v", s)
	}
}
