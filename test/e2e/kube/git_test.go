package kube

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/reconciler"
)

// pullRequest opens one, reads its comment, merges it, and holds what happens against that.
func pullRequest(t *testing.T, r *Rig) {
	from := r.Mark()
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
	workers := r.all("worker")
	if !hasAll(body, append([]string{fmt.Sprintf("%d nodes reboot (worker)", len(workers)), "kernelArguments"}, workers...)...) {
		t.Errorf("the comment does not name the workers %v and why they reboot:\n%s", workers, body)
	}
	var foretold struct{ Pools []struct{ Waves [][]string } }
	r.must(json.Unmarshal([]byte(r.run("preview", r.work(), "--base", "main", "--head", "more", "--kubeconfig", r.plane.Kubeconfig(t), "-o", "json")), &foretold))
	var waves [][]string
	for _, p := range foretold.Pools {
		waves = append(waves, p.Waves...)
	}
	commit, err := r.repo.Merge(number)
	r.must(err)
	r.settled(commit)
	r.Judge(t, from, workers...)
	r.holdWaves(t, waves, from)
	r.git("switch", "--quiet", "main")
	r.git("pull", "--quiet", "--ff-only", "origin", "main")
}

// run is a command of the program, which must succeed.
func (r *Rig) run(args ...string) string {
	r.t.Helper()
	cmd := exec.Command(r.program(present, "sluice"), args...)
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("sluice %s: %v\n%s%s", strings.Join(args, " "), err, out, errors.String())
	}
	return string(out)
}

// holdWaves holds that the nodes were taken in the order of the waves; within one there is none.
func (r *Rig) holdWaves(t *testing.T, waves [][]string, from Mark) {
	t.Helper()
	went := r.observer.record().Since(from.Version).Taken()
	rest := went
	for i, wave := range waves {
		now := slices.Sorted(slices.Values(rest[:min(len(wave), len(rest))]))
		rest = rest[len(now):]
		if want := slices.Sorted(slices.Values(wave)); !slices.Equal(now, want) {
			t.Errorf("wave %d: foretold %v, went %v (of all: %v)", i+1, want, now, went)
		}
	}
	if len(waves) == 0 || len(rest) > 0 {
		t.Errorf("foretold are the waves %v, and these went: %v", waves, went)
	}
	t.Logf("judged: %d waves as foretold: %v", len(waves), waves)
}

// revert takes the merge back.
func revert(t *testing.T, r *Rig) {
	from := r.Mark()
	before := r.order(r.all("worker")[0]).Spec.Config
	r.git("revert", "--no-edit", "--mainline=1", "HEAD")
	r.git("push", "--quiet", "origin", "HEAD")
	commit := r.git("rev-parse", "HEAD")
	r.settled(commit)
	r.Judge(t, from, r.all("worker")...)
	if !strings.Contains(r.words(commit), "rollback to") {
		t.Errorf("the revert is not called a rollback:\n%s", r.words(commit))
	}
	if p := r.pool("worker"); len(p.History) < 3 || p.History[0].Config != p.History[2].Config || p.Target == before {
		t.Errorf("the pool is not back where it was: %+v", p)
	}
}

// pauseInGit pushes a change with a pause, and then resumes.
func pauseInGit(t *testing.T, r *Rig) {
	from := r.Mark()
	const pool = "pools/worker/pool.yaml"
	r.edit(pool, `maxUnavailable: 2`, "maxUnavailable: 2\n  paused: true")
	commit := r.reboots("a change for later")
	r.waits("worker", string(reconciler.Paused))
	r.await("the commit's status says that the pool is paused", func() bool { return hasAll(r.words(commit), "pending", "paused") })
	why := ""
	r.await("why says what a resume does", func() bool {
		why = r.why("worker", "--repo", r.work())
		return hasAll(why, append([]string{"reboot"}, r.all("worker")[0])...)
	})
	t.Logf("why says:\n%s", why)
	r.Judge(t, from)
	from = r.Mark()
	r.edit(pool, `\n  paused: true`, "")
	r.settled(r.push("now"))
	r.Judge(t, from, r.all("worker")...)
}

// holdAndRelease has an operator hold a pool from the command line.
func holdAndRelease(t *testing.T, r *Rig) {
	from := r.Mark()
	config := r.plane.Kubeconfig(t)
	r.run("hold", "worker", "--reason", "the audit", "--by", "ada", "--kubeconfig", config)
	commit := r.reboots("a change under a hold")
	r.waits("worker", "ada", "the audit")
	r.await("the commit's status names who holds it", func() bool { return hasAll(r.words(commit), "ada", "the audit") })
	r.Judge(t, from)
	from = r.Mark()
	r.run("release", "worker", "--kubeconfig", config, "--repo", r.work())
	r.settled(commit)
	r.Judge(t, from, r.all("worker")...)
}
