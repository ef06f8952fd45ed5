package cluster_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/test/cluster"
)

// TestPlaneIsRealAndLeavesNothing starts it, asks it, and stops it.
func TestPlaneIsRealAndLeavesNothing(t *testing.T) {
	var plane cluster.Plane
	defer plane.Stop()
	config := plane.Kubeconfig(t)
	plane.Nodes(t, "n", 2)
	if got := plane.Kubectl(t, "get", "nodes", "-o", "name"); got != "node/n1\nnode/n2\n" {
		t.Errorf("it has the nodes %q", got)
	}
	if got := plane.Kubectl(t, "get", "--raw", "/version"); !strings.Contains(got, `"gitVersion": "v1.`) {
		t.Errorf("it calls itself %s", got)
	}
	plane.Down(t)
	if err := answers(t, config); err == nil {
		t.Error("it still answers after it was stopped")
	}
	plane.Again(t)
	if got := plane.Kubectl(t, "get", "nodes", "-o", "name"); got != "node/n1\nnode/n2\n" {
		t.Errorf("after a stop it has the nodes %q", got)
	}
	plane.Stop()
	if _, err := os.Stat(filepath.Dir(config)); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}

// answers asks the address of a kubeconfig whether anybody is there.
func answers(t *testing.T, config string) error {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	server := regexp.MustCompile(`https://(\S+)`).FindSubmatch(text)
	if server == nil {
		t.Fatalf("%s names no server", config)
	}
	c, err := net.Dial("tcp", string(server[1]))
	if err == nil {
		c.Close()
	}
	return err
}

func TestNoBinaryIsASkipWithItsReason(t *testing.T) {
	t.Setenv(cluster.Variable, "")
	if end := ending(t); end.failed != "" || !strings.Contains(end.skipped, "make test builds it") {
		t.Errorf("it ends with %+v", end)
	}
}

func TestABinaryThatEndsIsAFailureThatNamesIt(t *testing.T) {
	t.Setenv(cluster.Variable, "/bin/false")
	if end := ending(t); !strings.Contains(end.failed, "it ended") {
		t.Errorf("it ends with %+v", end)
	}
	t.Setenv(cluster.Variable, "/nowhere/controlplane")
	if end := ending(t); !strings.Contains(end.failed, "/nowhere/controlplane") {
		t.Errorf("it ends with %+v", end)
	}
}

// ending is how a test that asks for the plane ends.
func ending(t *testing.T) (e *ended) {
	e = &ended{TB: t}
	var plane cluster.Plane
	defer plane.Stop()
	defer func() {
		if r := recover(); r != nil && r != e {
			panic(r)
		}
	}()
	plane.Kubeconfig(e)
	return e
}

// ended is a test that keeps how it ends.
type ended struct {
	testing.TB
	failed, skipped string
}

func (e *ended) Fatalf(format string, args ...any) {
	e.failed = fmt.Sprintf(format, args...)
	panic(e)
}

func (e *ended) Skip(args ...any) {
	e.skipped = fmt.Sprint(args...)
	panic(e)
}
