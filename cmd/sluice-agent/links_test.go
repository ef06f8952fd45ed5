package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestTheAgentStaysSmall holds what the agent does not link, by whatever way: it runs on every node.
func TestTheAgentStaysSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skip("there is no go here to ask: ", err)
	}
	heavy := regexp.MustCompile(`^(github\.com/(google/cel-go|robfig/cron|go-git/|google/go-github|coreos/butane)|sigs\.k8s\.io/kustomize|k8s\.io/(kubectl|client-go/(kubernetes|gentype|dynamic|informers|discovery))|.*/sluice/(policy|render|source|reconciler)(/|$))`)
	all := strings.Fields(string(out))
	for _, p := range all {
		if heavy.MatchString(p) {
			t.Errorf("it links %s", p)
		}
	}
	if len(all) < 100 {
		t.Errorf("only %d packages are listed: the list is not the agent's", len(all))
	}
}
