package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where a kind was deleted beneath a fleet, the answer says what to apply.
func TestAClusterThatLacksAKindSaysSo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/fleets/default") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"apiVersion": "sluice.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "default"}, "spec": {"source": {"url": "https://git.example.com/fleet"}}}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	config := `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "` + server.URL + `"}}], contexts: [{name: c, context: {cluster: c}}]}`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"get", "why"} {
		root := command()
		root.SetArgs([]string{verb, "--kubeconfig", file})
		root.SetOut(io.Discard)
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "kubectl apply --server-side -f crds/") {
			t.Errorf("%s says %v", verb, err)
		}
	}
}
