package kube

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
)

// credentials has the forge ask for a token, and the operator give it by a Secret, wrong at first.
// While it is not right the fleet stays as it is, and says what is to be done.
func credentials(t *testing.T, r *Rig) {
	from := r.Mark()
	const token = "let-me-in"
	r.server.RequireToken(token)
	r.git("remote", "set-url", "origin", strings.Replace(r.server.CloneURL(fleetRepo), "://", "://ada:"+token+"@", 1))
	r.edit(registries, `registry[^:]*\.example\.com`, "registry3.example.com")
	commit := r.push("a change behind a locked door")
	secrets := r.core.CoreV1().Secrets(Namespace)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "git"}, StringData: map[string]string{"token": "wrong"}}
	for _, row := range []struct {
		when  string
		do    func() error
		words []string // of the Fleet's condition; none: it is ready
	}{
		{"nobody has given a token", func() error { return nil }, []string{"spec.source", "credentials"}},
		{"the Secret is not there", func() error {
			r.patchFleet(`{"spec": {"source": {"secretRef": {"name": "git"}}, "github": {"secretRef": {"name": "git"}}}}`)
			return nil
		}, []string{"spec.source.secretRef", "there is no Secret git"}},
		{"the token is wrong", func() error { _, err := secrets.Create(t.Context(), secret, metav1.CreateOptions{}); return err }, []string{"spec.source", "credentials"}},
		{"the token is right", func() error {
			secret.StringData["token"] = token
			_, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{})
			return err
		}, nil},
	} {
		began, said := time.Now(), ""
		r.must(row.do())
		last := r.fleetReady().Message
		r.await("the Fleet says so when "+row.when, func() bool {
			c := r.fleetReady()
			said = string(c.Status) + " " + c.Reason + ": " + c.Message
			if row.words == nil {
				return c.Status == metav1.ConditionTrue
			}
			return c.Status == metav1.ConditionFalse && hasAll(c.Message, row.words...) && (c.Message != last || row.when == "nobody has given a token")
		})
		t.Logf("when %s the Fleet says after %.1f s: %s", row.when, time.Since(began).Seconds(), said)
		if strings.Contains(said, token) {
			t.Errorf("it says the token")
		}
	}
	r.settled(commit)
	r.Judge(t, from)
}

// fleetReady is the Fleet's condition.
func (r *Rig) fleetReady() metav1.Condition {
	var f v1alpha1.Fleet
	r.read("fleets", fleetName, &f)
	if c := meta.FindStatusCondition(f.Status.Conditions, "Ready"); c != nil {
		return *c
	}
	return metav1.Condition{}
}
