package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/source/git/gittest"
	"github.com/sluice-gitops/sluice/test/cluster"
)

// controller is a process that runs until it is stopped.
type controller struct {
	stop context.CancelFunc
	over chan int
	mu   sync.Mutex
	said bytes.Buffer
}

func (c *controller) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said.Write(p)
}

func (c *controller) log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said.String()
}

func startController(t *testing.T, args ...string) *controller {
	ctx, stop := context.WithCancel(t.Context())
	c := &controller{stop: stop, over: make(chan int, 1)}
	go func() { c.over <- run(ctx, args, c, c) }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("a controller said:\n%s", c.log())
		}
	})
	return c
}

// obey is the agents of all nodes: what was ordered is done.
func obey(t *testing.T, plane *cluster.Plane) {
	t.Helper()
	var homes v1alpha1.NodeConfigList
	if err := json.Unmarshal([]byte(plane.Kubectl(t, "get", "nodeconfigs", "-o", "json")), &homes); err != nil {
		t.Fatal(err)
	}
	for _, home := range homes.Items {
		if home.Status.BootID == "" && home.Spec.Generation == 0 {
			plane.Kubectl(t, "patch", "nodeconfig", home.Name, "--subresource=status", "--type=merge", "-p", `{"status": {"bootID": "b"}}`)
		}
		if home.Spec.Generation > home.Status.Generation {
			plane.Kubectl(t, "patch", "nodeconfig", home.Name, "--subresource=status", "--type=merge", "-p",
				fmt.Sprintf(`{"status": {"generation": %d, "config": %q, "phase": "done", "bootID": "b"}}`, home.Spec.Generation, home.Spec.Config))
		}
	}
}

// TestRunOnKubernetes has two controllers of one fleet: one leads, and when it stops the other goes
// on. What they follow is said in the Fleet object.
func TestRunOnKubernetes(t *testing.T) {
	var plane cluster.Plane
	defer plane.Stop()
	config := plane.Kubeconfig(t)
	args := []string{"run", "--kubeconfig", config, "--namespace", "default", "--fleet", "prod"}
	plane.Kubectl(t, "apply", "-f", filepath.Join("..", "..", "api", "v1alpha1", "crds"))
	plane.Kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	plane.Nodes(t, "n", 2)
	repo := gittest.New(t).Repo("fleet.git")
	push := func(word string) string {
		return repo.Commit("main", gittest.Files{
			"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n",
			"args.yaml": fmt.Sprintf("apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: 10-args}\nspec: {kernelArguments: [%s]}\n", word),
		})
	}
	first := push("a")
	plane.Apply(t, fmt.Sprintf("{apiVersion: sluice.dev/v1alpha1, kind: Fleet, metadata: {name: prod}, spec: {source: {url: %q, interval: 200ms}}}", repo.URL))

	one := startController(t, args...)
	settled := func(commit string) {
		t.Helper()
		got := ""
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
			obey(t, &plane)
			got = plane.Kubectl(t, "get", "pools", "-o", `jsonpath={.items[0].status.commit} {.items[0].status.phase} {.items[0].status.updated}`, "--ignore-not-found")
			if got == commit+" Updated 2/2" {
				return
			}
		}
		t.Fatalf("the pool is %q", got)
	}
	settled(first)
	two := startController(t, args...)
	second := push("b")
	settled(second)
	if log := two.log(); strings.Contains(log, "leading") {
		t.Errorf("two lead: %s", log)
	}
	one.stop()
	if code := <-one.over; code != 0 {
		t.Errorf("stopped, it exits with %d", code)
	}
	third := push("c")
	settled(third) // well within the time that a lease would take to run out
	if log := two.log(); !strings.Contains(log, "leading") || !strings.Contains(log, "msg=send") {
		t.Errorf("the other has not taken over: %s", log)
	}
	holdPreviewOfALiveFleet(t, repo, config, third)
	two.stop()
	if code := <-two.over; code != 0 {
		t.Errorf("stopped, it exits with %d", code)
	}
	if got := plane.Kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].spec.unschedulable}"); got != "" {
		t.Errorf("nodes are left cordoned: %q", got)
	}
}

// holdPreviewOfALiveFleet holds that a preview takes the nodes as they are in the cluster, not as the
// base would have them.
func holdPreviewOfALiveFleet(t *testing.T, repo *gittest.Repo, config, base string) {
	t.Helper()
	head := repo.Pull(1, base, gittest.Files{
		"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n",
		"args.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: 10-args}\nspec: {kernelArguments: [d]}\n",
	})
	var stdout, stderr bytes.Buffer
	args := []string{"preview", repo.Dir, "--base", base, "--head", head, "--kubeconfig", config, "--namespace", "default", "--fleet", "prod", "-o", "json"}
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("preview of the live fleet exits with %d: %s", code, &stderr)
	}
	var got struct {
		Inventory, Assumed int
		Pools              []struct{ Nodes map[string][]string }
	}
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Inventory != 2 || got.Assumed != 0 || len(got.Pools) != 1 || len(got.Pools[0].Nodes["reboot"]) != 2 {
		t.Errorf("the preview of the live fleet is %s", &stdout)
	}
}
