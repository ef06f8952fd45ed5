package main

import (
	"cmp"
	"context"
	"fmt"
	"os/user"
	"path/filepath"
	"time"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/source/git"
)

// folder is a place: the folder of a local fleet.
type folder string

func readSnapshot(ctx context.Context, dir string) (s snapshot, err error) {
	if dir == "" {
		return s, usage("which fleet? give --local DIR, or --kubeconfig FILE for that of a cluster")
	}
	store := &local.Store{Dir: dir}
	if s.State, err = store.Load(ctx); err != nil {
		return s, err
	}
	if s.Nodes, err = (local.Fleet{Dir: dir}).Nodes(ctx); err != nil {
		return s, err
	}
	if len(s.Nodes) == 0 {
		return s, fmt.Errorf("there is no fleet in %s", dir)
	}
	s.place, s.now = folder(dir), time.Now()
	all, err := local.Desk{Dir: dir}.Holds(ctx)
	if err != nil { // as the controller takes it
		all = []policy.Hold{loop.Unreadable(err)}
	}
	s.take(all)
	if runs, err := local.Runs(dir); err == nil && !runs {
		why := fmt.Sprintf("no controller runs on this fleet: nothing moves, and pushes are not seen, until sluice run --local %s", dir)
		s.said = append(s.said, reason{Check: "controller", Outcome: policy.Wait, Reason: why})
	}
	return s, nil
}

func (f folder) String() string { return "the fleet in " + string(f) }

// settings are those that the fleet remembers.
func (f folder) settings() (set settings, err error) {
	_, err = durable.ReadJSON(filepath.Join(string(f), settingsFile), &set)
	return set, err
}

func (f folder) rules(nodes []reconciler.Node) (r rules, err error) {
	set, err := f.settings()
	if err != nil {
		return r, err
	}
	r.options, r.self, r.config = set.options(), set.self(nodes), (&local.Store{Dir: string(f)}).Config
	r.guardrail, err = readGuardrail(set.Guardrail)
	return r, err
}

// repository is what the controller of this fleet has fetched.
func (f folder) repository(context.Context) (*git.Repo, error) {
	return git.Open(filepath.Join(string(f), "git", "mirror.git"))
}

func (f folder) desk() desk { return folderDesk{local.Desk{Dir: string(f)}} }

// folderDesk waits for nobody but a lock.
type folderDesk struct{ at local.Desk }

func (d folderDesk) Hold(_ context.Context, h policy.Hold) error { return d.at.Hold(h) }

func (d folderDesk) Release(_ context.Context, mine func(policy.Hold) bool) ([]policy.Hold, error) {
	return d.at.Release(mine)
}

func (d folderDesk) Allow(_ context.Context, commit string) error { return d.at.Allow(commit) }

func (folderDesk) Me(context.Context) string { return me() }

// me is the name of whoever runs this.
func me() string {
	if u, err := user.Current(); err == nil {
		return cmp.Or(u.Username, "somebody")
	}
	return "somebody"
}
