package main

import (
	"bytes"
	"strings"
	"testing"
)

// In a pod the fleet is the cluster's, and elsewhere somebody must say which.
func TestWhichFleetIsMeant(t *testing.T) {
	for _, tt := range []struct {
		name, host string
		args       []string
		code       int
		says       string
	}{
		{"in a pod it is the cluster's, by the pod's own account", "10.0.0.1", []string{"run"}, 1, "read the pod's own account"},
		{"in a pod a flag of the Fleet is refused", "10.0.0.1", []string{"run", "--repo", "x"}, 2, "--repo does not go with a fleet on Kubernetes"},
		{"in a pod a folder may be meant", "10.0.0.1", []string{"run", "--local", t.TempDir()}, 2, "which repository"},
		{"elsewhere nothing is meant", "", []string{"run"}, 2, "which fleet? give --local DIR, or --kubeconfig FILE"},
		{"elsewhere a namespace goes with a cluster", "", []string{"run", "--namespace", "x"}, 2, "--namespace goes with --kubeconfig"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", tt.host)
			t.Setenv("KUBERNETES_SERVICE_PORT", "443")
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), tt.args, &stdout, &stderr); code != tt.code || !strings.Contains(stderr.String(), tt.says) {
				t.Errorf("it exits with %d and says %s", code, &stderr)
			}
		})
	}
}
