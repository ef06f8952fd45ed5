package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// told is the variable by which make demo-cluster asks for the story.
const told = "SLUICE_DEMO"

// TestStory tells on the terminal what Sluice does on a cluster. Each chapter holds what it tells.
func TestStory(t *testing.T) {
	if os.Getenv(told) == "" {
		t.Skip("make demo-cluster tells it")
	}
	began := time.Now()
	say("A Kubernetes control plane, the chart, two controllers, and six nodes with an agent each start on this machine.\n" +
		"   The API server is a real one; each node is a folder, and its reboots are played.")
	r := Start(t, Sizes{Master: 1, Worker: 3, Edge: 2})
	defer func() {
		if t.Failed() {
			r.Tell(t, Mark{})
		}
	}()
	go r.tellEvents(t.Context())
	r.shop()
	for _, chapter := range []func(*testing.T, *Rig){tellPush, tellPull, tellBlock, tellHold, tellRevert} {
		chapter(t, r)
	}
	say("The end, after %s: every chapter was checked. What was started is stopped, and its folder is deleted.\n"+
		"   To install it on a cluster of your own: charts/sluice/README.md", time.Since(began).Round(time.Second))
}

func say(format string, args ...any) { fmt.Printf("\n== "+format+"\n", args...) }

// show prints what a command of the plugin says. kubectl finds it by this name.
func (r *Rig) show(args ...string) {
	plugin := filepath.Join(r.dir, "kubectl-sluice")
	if err := os.Symlink(r.program(present, "sluice"), plugin); err != nil && !os.IsExist(err) {
		r.must(err)
	}
	out, err := exec.Command(plugin, append(args, "--kubeconfig", r.plane.Kubeconfig(r.t))...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("kubectl sluice %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	line := "kubectl sluice"
	for _, arg := range args {
		if strings.Contains(arg, " ") {
			arg = "'" + arg + "'"
		}
		line += " " + arg
	}
	fmt.Printf("\n    $ %s\n%s\n", line, indent(string(out)))
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

// tellEvents prints Sluice's events of nodes and pools as they come.
func (r *Rig) tellEvents(ctx context.Context) {
	for ctx.Err() == nil {
		w, err := r.core.EventsV1().Events(metav1.NamespaceDefault).Watch(ctx, metav1.ListOptions{})
		if err != nil {
			pause(ctx)
			continue
		}
		for e := range w.ResultChan() {
			if e, is := e.Object.(*eventsv1.Event); is && e.ReportingController == "sluice" {
				fmt.Printf("    %-9s %s: %s\n", e.Regarding.Name, e.Reason, e.Note)
			}
		}
	}
}

func tellPush(_ *testing.T, r *Rig) {
	say("A push: every node becomes what the repository says.")
	r.settled(r.push("start the fleet"))
	r.show("get")
}

// tellPull opens a pull request, and shows what Sluice writes below it.
func tellPull(_ *testing.T, r *Rig) {
	say("A pull request: before anybody merges, its comment says what that costs which node.")
	r.git("switch", "--quiet", "--create", "more")
	huge++
	r.edit(hugepages, `hugepages=\d+`, fmt.Sprintf("hugepages=%d", huge))
	r.push("more huge pages")
	number, err := r.repo.Open("More huge pages", "more")
	r.must(err)
	body := ""
	r.await("a comment below the pull request", func() bool {
		for _, c := range r.repo.Comments(number) {
			body = c.Body
		}
		return body != ""
	})
	lines := strings.Split(body, "\n")[1:] // the first is the mark by which it is found again, which nobody sees
	fmt.Println(indent(strings.Join(lines[:min(len(lines), 30)], "\n")))
}

// tellBlock merges it while a budget lets a pod not go.
func tellBlock(_ *testing.T, r *Rig) {
	node := r.all("worker")[0]
	say("The merge: the workers drain and reboot, at most two at a time. On %s a pod stands that its disruption budget lets not go.", node)
	r.plane.Apply(r.t, fmt.Sprintf(vault, node))
	r.plane.Kubectl(r.t, "-n", "apps", "rollout", "status", "deployment/vault", "--timeout=240s")
	commit, err := r.repo.Merge(1)
	r.must(err)
	r.waits("worker", "apps/vault", "keep-vault")
	r.await("the commit's status names pod and budget", func() bool { return hasAll(r.words(commit), "apps/vault", "keep-vault") })
	r.show("why", "worker")
	fmt.Printf("    Its commit on the forge:\n%s\n", indent(r.words(commit)))
	say("The budget is relaxed, and the rollout goes on by itself.")
	r.plane.Kubectl(r.t, "-n", "apps", "patch", "pdb", "keep-vault", "--type=merge", "-p", `{"spec": {"minAvailable": 0}}`)
	r.settled(commit)
	r.show("get")
	r.git("switch", "--quiet", "main")
	r.git("pull", "--quiet", "--ff-only", "origin", "main")
}

// tellHold has an operator hold a pool, and release it for the chapter that follows.
func tellHold(_ *testing.T, r *Rig) {
	say("A hold: an operator keeps the workers as they are. The merge is reverted meanwhile.")
	r.show("hold", "worker", "--reason", "the audit", "--by", "ada")
	r.git("revert", "--no-edit", "--mainline=1", "HEAD")
	r.git("push", "--quiet", "origin", "HEAD")
	commit := r.git("rev-parse", "HEAD")
	r.waits("worker", "ada", "the audit")
	r.await("the commit's status names who holds it", func() bool { return hasAll(r.words(commit), "ada", "the audit") })
	fmt.Println(indent(r.words(commit)))
}

func tellRevert(t *testing.T, r *Rig) {
	say("The hold is released: the revert goes out as a rollback.")
	commit := r.git("rev-parse", "HEAD")
	r.show("release", "worker")
	r.settled(commit)
	r.show("history", "worker")
	if words := r.words(commit); !strings.Contains(words, "rollback") {
		t.Errorf("no status of the revert says that it is a rollback:\n%s", words)
	}
}
