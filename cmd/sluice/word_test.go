package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/reconciler/kube"
)

// TestOneRequestThatFailsIsNoTroubleOfTheFleet: tools that wait for a Fleet end when it says Stalled, and
// a server of several that is started anew is no reason for that.
func TestOneRequestThatFailsIsNoTroubleOfTheFleet(t *testing.T) {
	away := kube.Trouble{Reason: kube.Failed, Message: "read Fleet prod: connection refused"}
	secret := kube.Trouble{Reason: kube.NoSecret, Message: "there is no Secret git"}
	none := kube.Trouble{}
	for name, row := range map[string]struct {
		heard []kube.Trouble
		said  string // of the last
	}{
		"it fails twice":                        {[]kube.Trouble{none, away, away}, ""},
		"it fails on and on":                    {[]kube.Trouble{none, away, away, away}, away.Message},
		"it fails now and then":                 {[]kube.Trouble{away, away, none, away, away}, ""},
		"a mistake is said at once":             {[]kube.Trouble{none, secret}, secret.Message},
		"a mistake is not mended by a failure":  {[]kube.Trouble{secret, away, away}, secret.Message},
		"what is mended is taken back at once":  {[]kube.Trouble{secret, none}, ""},
		"what answers again is taken back, too": {[]kube.Trouble{away, away, away, none}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.NotFoundHandler())
			defer server.Close()
			client, err := kube.Connect(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			w := &word{fleet: "prod", board: &kube.Board{Client: client, Fleet: "prod"}, events: &kube.Events{}, log: slog.New(slog.NewTextHandler(&log, nil))}
			for _, heard := range row.heard {
				w.asked(t.Context(), heard, kube.Text{})
			}
			if w.said.Message != row.said {
				t.Errorf("the Fleet says %q, want %q", w.said.Message, row.said)
			}
			if row.said == "" && strings.Count(log.String(), "keeps the fleet from") != strings.Count(log.String(), "nothing keeps the fleet from")*2 {
				t.Errorf("a trouble is logged that nobody takes back: %s", &log)
			}
		})
	}
}

// TestASourceIsAnAddress: what has no scheme would be taken for a folder of the controller's own.
func TestASourceIsAnAddress(t *testing.T) {
	for url, want := range map[string]string{
		"https://git.example.com/acme/fleet":     "",
		"http://127.0.0.1/fleet.git":             "",
		"git.example.com/acme/fleet":             "spec.source.url: is not an address",
		"/var/run/fleet":                         "spec.source.url: is not an address",
		"git@git.example.com:acme/fleet":         "spec.source.url: ssh is not supported",
		"https://ann:pass@git.example.com/fleet": "spec.source.url: the address holds credentials",
	} {
		_, _, err := kubeFleet{Fleet: "prod"}.understand(v1alpha1.FleetSpec{Source: v1alpha1.Source{URL: url}, Profile: "openshift"}, settings{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
	}
}
