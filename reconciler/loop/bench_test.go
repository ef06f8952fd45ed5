package loop_test

import (
	"io/fs"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source/git"
	"github.com/sluice-gitops/sluice/source/git/gittest"
)

// BenchmarkQuietTick is a turn of the controller in which nothing has changed: six nodes in files,
// a real repository over HTTP that is asked at every turn, a forge in memory.
func BenchmarkQuietTick(b *testing.B) {
	server := gittest.New(b)
	repo := server.Repo("fleet.git")
	repo.Commit("main", gittest.Files(reboots("a")))
	dir := b.TempDir()
	names := []string{"w1", "w2", "w3", "w4", "w5", "w6"}
	for _, name := range names {
		if err := local.Enlist(dir, name, map[string]string{"node-role.kubernetes.io/worker": ""}, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	store := &store{Store: &local.Store{Dir: dir}}
	forge := &forge{FakeForge: looptest.FakeForge{}, calls: map[string]int{}}
	l := &loop.Loop{
		Source: &git.Source{URL: repo.URL, Branch: "main", Dir: filepath.Join(dir, "git")},
		Fleet:  local.Fleet{Dir: dir}, Forge: forge, Store: store, Gate: policy.Default(),
		Build: func(tree fs.FS) ([]render.Build, error) { return build(tree) },
		Now:   time.Now, Log: slog.New(slog.DiscardHandler),
	}
	for moving := true; moving; {
		var err error
		if moving, err = l.Tick(b.Context()); err != nil {
			b.Fatal(err)
		}
		nodes, err := l.Fleet.Nodes(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range nodes {
			r := nodeops.Report{Generation: n.Order.Generation, Config: n.Order.Config, Phase: nodeops.Done, BootID: "b"}
			if err := durable.WriteJSON(filepath.Join(dir, "nodes", n.Name, "report.json"), r, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	server.Requests()
	forge.asked()
	saves, ticks := store.saves, 0
	b.ReportAllocs()
	for b.Loop() {
		if moving, err := l.Tick(b.Context()); moving || err != nil {
			b.Fatalf("moving %t, %v", moving, err)
		}
		ticks++
	}
	b.ReportMetric(float64(len(server.Requests()))/float64(ticks), "requests/op")
	b.ReportMetric(float64(forge.asked())/float64(ticks), "forge-requests/op")
	b.ReportMetric(float64(store.saves-saves)/float64(ticks), "saves/op")
}
