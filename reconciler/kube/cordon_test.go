package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/reconciler"
)

// TestWhoseCordon: the mark says that we did, the server says who did last.
func TestWhoseCordon(t *testing.T) {
	by := func(manager, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, FieldsV1: metav1.NewFieldsV1(fields)}
	}
	const cordon, mine = `{"f:spec":{"f:unschedulable":{}}}`, `{"f:metadata":{"f:annotations":{"f:sluice.dev/cordoned-by":{}}}}`
	for _, tt := range []struct {
		name   string
		open   bool
		mark   string
		fields []metav1.ManagedFieldsEntry
		want   reconciler.Cordon
	}{
		{name: "nobody's", open: true, want: reconciler.Uncordoned},
		{name: "nobody's, with a mark that was left", open: true, mark: "f", want: reconciler.Uncordoned},
		{name: "without a mark it is foreign", want: reconciler.Foreign},
		{name: "of another fleet", mark: "g", want: reconciler.Foreign},
		{name: "with our mark it is ours", mark: "f", want: reconciler.Ours},
		{name: "and by our hand", mark: "f", want: reconciler.Ours, fields: []metav1.ManagedFieldsEntry{by("kubelet", `{"f:spec":{"f:podCIDR":{}}}`), by("sluice", cordon)}},
		{name: "somebody has set his own since", mark: "f", want: reconciler.Foreign, fields: []metav1.ManagedFieldsEntry{by("sluice", mine), by("kubectl-cordon", cordon)}},
		{name: "what the server says of others means nothing", mark: "f", want: reconciler.Ours, fields: []metav1.ManagedFieldsEntry{by("kubelet", `{"f:spec":{"f:podCIDR":{}}}`), by("x", `{`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{mark: tt.mark}, ManagedFields: tt.fields}}
			n.Spec.Unschedulable = !tt.open
			if got := (&Fleet{Name: "f"}).cordon(n); got != tt.want {
				t.Errorf("it is %q, want %q", got, tt.want)
			}
		})
	}
}

// Somebody cordons a node while we are about to: it is his.
func TestACordonThatComesBetweenIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.add("w1", nil)
	f := w.fleet()
	looks := 0
	w.must(f.sign(t.Context(), "w1", &f.Name, func(n *corev1.Node) (bool, error) {
		free := f.cordon(n) == reconciler.Uncordoned
		if looks++; looks == 1 {
			w.unschedulable("w1", true)
		}
		return free, nil
	}))
	if n := w.node(f, "w1"); looks != 2 || n.Cordon != reconciler.Foreign {
		t.Errorf("after %d looks it is %q", looks, n.Cordon)
	}
}
