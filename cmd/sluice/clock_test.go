package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/policy/facts"
	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/reconciler/kube"
	"github.com/sluice-gitops/sluice/reconciler/preview"
	"github.com/sluice-gitops/sluice/source/forge/github"
)

// A laptop's clock may be wrong: what is said of holds, windows and leases, and a hold for two hours, go by
// the cluster's.
func TestAFleetOfAClusterIsSeenByTheClustersClock(t *testing.T) {
	const ahead = 5 * time.Hour
	now := time.Now().Add(ahead).UTC()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", now.Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		switch name := path.Base(r.URL.Path); name {
		case "default":
			io.WriteString(w, `{"apiVersion": "sluice.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "default"}, "spec": {"source": {"url": "https://git.example.com/fleet"}}}`)
		case "nodes":
			io.WriteString(w, `{"apiVersion": "v1", "kind": "NodeList"}`)
		case "nodeconfigs":
			io.WriteString(w, `{"apiVersion": "sluice.dev/v1alpha1", "kind": "NodeConfigList"}`)
		case "pools":
			io.WriteString(w, `{"apiVersion": "sluice.dev/v1alpha1", "kind": "PoolList"}`)
		case "sluice-default":
			fmt.Fprintf(w, `{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "sluice-default"},
				"spec": {"holderIdentity": "c", "leaseDurationSeconds": 15, "renewTime": %q}}`, now.Add(-time.Second).Format("2006-01-02T15:04:05.000000Z"))
		default:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}`)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "` + server.URL + `"}}], contexts: [{name: c, context: {cluster: c}}]}`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := clusterFlags{kubeconfig: file, namespace: "sluice-system", name: "default"}
	in := preview.Input{Cluster: &blockers.Snapshot{}}
	if err := flags.fill(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	if off := time.Until(in.Now) - ahead; off.Abs() > time.Hour {
		t.Errorf("a preview is of %s, %s off", in.Now, off)
	}
	s, err := (&fleetAt{cluster: flags}).readCluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Until(s.now) - ahead; off.Abs() > time.Hour {
		t.Errorf("it is seen as of %s, %s off", s.now, off)
	}
	if len(s.said) > 0 {
		t.Errorf("of a lease that was just renewed it says %+v", s.said)
	}
}

// What a controller decides, and what it asks the world, goes by one clock: with two, a forge that asks for
// two minutes of quiet would get an hour, and a health gate's answer would be old when it comes.
func TestAControllerGoesByTheClustersClock(t *testing.T) {
	const ahead = 5 * time.Hour
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	client, err := kube.Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Asked(t.Context(), "f"); err == nil {
		t.Fatal("there is a Fleet")
	}
	what := asked{forge: "hub", spec: v1alpha1.FleetSpec{
		Source: v1alpha1.Source{URL: "https://git.example.com/fleet"}, GitHub: &v1alpha1.GitHub{Repository: "acme/fleet"},
	}}
	l, err := kubeFleet{Fleet: "f", vitals: newVitals("f")}.wire(client, what, settings{}, &kube.Board{}, t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for name, now := range map[string]func() time.Time{
		"what it decides": l.Now, "what it asks": l.Facts.(*facts.Inquiry).Now, "its forge": l.Forge.(*github.Forge).Now,
	} {
		if now == nil {
			t.Errorf("%s goes by the machine's clock", name)
		} else if off := time.Until(now()) - ahead; off.Abs() > time.Hour {
			t.Errorf("%s goes by a clock that is %s off", name, off)
		}
	}
}
