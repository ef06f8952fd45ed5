package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/reconciler/blockers"
	"github.com/sluice-gitops/sluice/reconciler/preview"
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
