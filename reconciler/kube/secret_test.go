package kube

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// Whoever writes the Fleet chooses where the Secret is sent: what serves something else stays here.
func TestSecretsThatServeSomethingElseAreNotSent(t *testing.T) {
	for kind, sent := range map[string]bool{
		"Opaque":                              true,
		"kubernetes.io/basic-auth":            true,
		"kubernetes.io/service-account-token": false,
		"kubernetes.io/tls":                   false,
		"bootstrap.kubernetes.io/token":       false,
		"helm.sh/release.v1":                  false,
		"sluice.dev/data":                     false,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "type": %q, "data": {"token": "aHVudGVyMg=="}}`, kind)
		}))
		data, err := connect(t, &rest.Config{Host: server.URL}).Secret(t.Context(), "sluice-system", "s", "spec.github.secretRef")
		server.Close()
		var said Trouble
		switch {
		case sent && (err != nil || string(data["token"]) != "hunter2"):
			t.Errorf("%s: %q, %v", kind, data, err)
		case !sent && (len(data) > 0 || !errors.As(err, &said) || said.Reason != NoSecret):
			t.Errorf("%s: it is given out: %v", kind, err)
		case !sent:
			for _, word := range []string{"spec.github.secretRef", "Secret s in namespace sluice-system", kind, "Opaque", "kubectl --namespace sluice-system create secret generic"} {
				if !strings.Contains(said.Message, word) {
					t.Errorf("%s: it does not say %q: %s", kind, word, said.Message)
				}
			}
		}
	}
}
