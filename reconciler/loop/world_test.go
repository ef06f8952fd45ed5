package loop_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/loop/looptest"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source"
)

// world is a fleet of three nodes in a directory, whose nodes do at once what they are told, and
// a controller with a clock of its own.
type world struct {
	t      *testing.T
	dir    string
	now    time.Time
	source *looptest.FakeSource
	forge  *forge
	fleet  *fleet
	store  *store
	loop   *loop.Loop
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, dir: t.TempDir(), now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC),
		source: &looptest.FakeSource{}, forge: &forge{calls: map[string]int{}},
	}
	for _, name := range []string{"w1", "w2", "w3"} {
		w.enlist(name)
	}
	w.restart()
	return w
}

func (w *world) enlist(name string) {
	w.t.Helper()
	if err := local.Enlist(w.dir, name, map[string]string{"node-role.kubernetes.io/worker": ""}, w.now); err != nil {
		w.t.Fatal(err)
	}
}

// restart puts a new process in the place of the controller: nothing is left but what was stored.
func (w *world) restart() {
	w.fleet = &fleet{Fleet: local.Fleet{Dir: w.dir}}
	w.store = &store{Store: &local.Store{Dir: w.dir}}
	w.loop = w.controller(w.fleet, w.store)
}

func (w *world) controller(f loop.Fleet, s loop.Store) *loop.Loop {
	return &loop.Loop{
		Source: w.source, Fleet: f, Forge: w.forge, Store: s, Build: build, Gate: policy.Default(),
		Now: func() time.Time { return w.now }, Log: slog.New(slog.DiscardHandler),
	}
}

// build takes every file of the root as one document. A file that begins with "broken" is a mistake.
func build(tree fs.FS) ([]render.Build, error) {
	names, err := fs.Glob(tree, "*.yaml")
	if err != nil {
		return nil, err
	}
	b := render.Build{Dir: "."}
	for _, name := range names {
		body, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(string(body), "broken") {
			return nil, render.Errors{{File: name, Field: "spec.config", Why: "is broken"}}
		}
		b.Documents = append(b.Documents, render.Document{File: name, Body: body})
	}
	return []render.Build{b}, nil
}

// reboots are the files of a commit whose content, and so whose reboot, hangs on a word.
func reboots(word string) map[string]string {
	return map[string]string{
		"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n",
		"args.yaml": fmt.Sprintf("apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: 10-args}\nspec: {kernelArguments: [%s]}\n", word),
	}
}

// reloads adds to reboots a file for which a node only reloads its runtime.
func reloads(word, content string) map[string]string {
	files := reboots(word)
	files["file.yaml"] = fmt.Sprintf(`apiVersion: machineconfiguration.openshift.io/v1
kind: MachineConfig
metadata: {name: 20-file}
spec: {config: {ignition: {version: 3.5.0}, storage: {files: [{path: /etc/containers/registries.d/a.yaml, mode: 0644, contents: {source: "data:,%s"}}]}}}
`, content)
	return files
}

var broken = map[string]string{"pool.yaml": "broken"}

// tick is one turn of the controller, then one of the nodes, then a second.
func (w *world) tick() (moving bool, err error) {
	defer func() {
		w.obey()
		w.now = w.now.Add(time.Second)
	}()
	return w.loop.Tick(w.t.Context())
}

// obey lets every node do what it was told.
func (w *world) obey() {
	w.t.Helper()
	for _, n := range w.nodes() {
		if n.Order.Generation > n.Report.Generation {
			r := nodeops.Report{Generation: n.Order.Generation, Config: n.Order.Config, Phase: nodeops.Done, BootID: "b"}
			if err := durable.WriteJSON(filepath.Join(w.dir, "nodes", n.Name, "report.json"), r, 0o644); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// settle ticks until nothing moves. Errors of ticks are none of its business: a tick is a retry.
func (w *world) settle() {
	w.t.Helper()
	for range 60 {
		if moving, err := w.tick(); !moving && err == nil {
			return
		}
	}
	w.t.Fatalf("the fleet does not come to rest: %+v", w.state().Pools)
}

// run ticks n times.
func (w *world) run(n int) {
	for range n {
		_, _ = w.tick()
	}
}

// pass ticks at every step of a while.
func (w *world) pass(while, step time.Duration) {
	for until := w.now.Add(while); w.now.Before(until); w.now = w.now.Add(step - time.Second) {
		w.run(1)
	}
}

func (w *world) nodes() []reconciler.Node {
	w.t.Helper()
	nodes, err := local.Fleet{Dir: w.dir}.Nodes(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return nodes
}

func (w *world) state() reconciler.State {
	w.t.Helper()
	s, err := (&local.Store{Dir: w.dir}).Load(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// holdAt holds that every node is at the target of a commit, and free.
func (w *world) holdAt(commit string) {
	w.t.Helper()
	p := w.state().Pools["worker"]
	if p.Phase != reconciler.Updated || p.Revision.Commit != commit {
		w.t.Errorf("the pool is %s at %s, want Updated at %s", p.Phase, p.Revision.Short(), source.Short(commit))
	}
	for _, n := range w.nodes() {
		if n.Report.Config != p.Target || n.Cordon != reconciler.Uncordoned {
			w.t.Errorf("node %s is at %s with cordon %q, want %s and none", n.Name, n.Report.Config.Short(), n.Cordon, p.Target.Short())
		}
	}
}

// holdSaid holds what the forge shows of a commit.
func (w *world) holdSaid(commit, pool string, state source.State, words string) {
	w.t.Helper()
	got, ok := w.forge.Said(commit, pool)
	if !ok || got.State != state || !strings.Contains(got.Summary, words) {
		w.t.Errorf("of %s the forge shows %q %q, want %q with %q", source.Short(commit), got.State, got.Summary, state, words)
	}
}

// forge is a FakeForge that counts what it is asked, failures included.
type forge struct {
	looptest.FakeForge
	calls map[string]int
	post  func(source.Status) error // what a Post answers instead
}

func (f *forge) Proposals(ctx context.Context) ([]source.Proposal, error) {
	f.calls["list"]++
	return f.FakeForge.Proposals(ctx)
}

func (f *forge) Post(ctx context.Context, s source.Status) error {
	f.calls["post"]++
	if f.post != nil {
		if err := f.post(s); err != nil {
			return err
		}
	}
	return f.FakeForge.Post(ctx, s)
}

func (f *forge) Comment(ctx context.Context, c source.Comment) error {
	f.calls["comment"]++
	return f.FakeForge.Comment(ctx, c)
}

// asked counts all calls since the last time.
func (f *forge) asked() (n int) {
	for _, c := range slices.Sorted(maps.Keys(f.calls)) {
		n += f.calls[c]
		delete(f.calls, c)
	}
	return n
}

// fleet is a local fleet that counts its writes, and lets a test do something between a look and
// what is decided on it.
type fleet struct {
	local.Fleet
	writes int
	looked func()
}

func (f *fleet) Nodes(ctx context.Context) ([]reconciler.Node, error) {
	nodes, err := f.Fleet.Nodes(ctx)
	if f.looked != nil {
		f.looked()
	}
	return nodes, err
}

func (f *fleet) Send(ctx context.Context, o nodeops.Order) error {
	f.writes++
	return f.Fleet.Send(ctx, o)
}

func (f *fleet) Drain(ctx context.Context, d reconciler.Drain) error {
	f.writes++
	return f.Fleet.Drain(ctx, d)
}

func (f *fleet) Uncordon(ctx context.Context, node string) error {
	f.writes++
	return f.Fleet.Uncordon(ctx, node)
}

// store is a local store that counts, fails and crashes.
type store struct {
	*local.Store
	saves  int
	fail   error
	before func(n int) // called with the number of the save
	after  func(n int)
}

func (s *store) Save(ctx context.Context, state reconciler.State) error {
	s.saves++
	if s.before != nil {
		s.before(s.saves)
	}
	if s.fail != nil {
		return s.fail
	}
	err := s.Store.Save(ctx, state)
	if s.after != nil {
		s.after(s.saves)
	}
	return err
}

var errDown = errors.New("out of order")
