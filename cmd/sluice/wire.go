package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	agentloop "github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/host"
	hostlocal "github.com/sluice-gitops/sluice/nodeops/host/local"
	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/source/forge/github"
	"github.com/sluice-gitops/sluice/source/git"
)

// localFleet is a controller and its nodes, wired together: the one place that knows every
// adapter.
type localFleet struct {
	dir    string
	set    settings
	log    *slog.Logger
	fleet  local.Fleet
	loop   *loop.Loop
	wake   chan struct{}            // a node has news for the controller
	orders map[string]chan struct{} // the controller has news for a node
}

func newLocalFleet(dir string, set settings, log *slog.Logger) (*localFleet, error) {
	f := &localFleet{dir: dir, set: set, log: log, wake: make(chan struct{}, 1), orders: map[string]chan struct{}{}}
	f.fleet = local.Fleet{Dir: dir, Nudge: f.nudge}
	forge, err := openForge(set, os.Getenv(githubToken))
	if err != nil {
		return nil, err
	}
	src := ownSource(set.Repo, set.Branch, filepath.Join(dir, "git"))
	guardrail, err := readGuardrail(set.Guardrail)
	if err != nil {
		return nil, err
	}
	inquiry, err := set.inquiry(src, forge, log)
	if err != nil {
		return nil, err
	}
	nodes, err := f.fleet.Nodes(context.Background())
	if err != nil {
		return nil, err
	}
	self := set.self(nodes)
	f.loop = &loop.Loop{
		Source: src,
		Fleet:  f.fleet,
		Forge:  forge,
		Store:  &local.Store{Dir: dir},
		Render: set.options(),
		Build:  func(tree fs.FS) ([]render.Build, error) { return builds.Build(tree, nil) },
		Gate:   policy.Default(),
		Facts:  inquiry,
		Guard:  guardrail,
		Desk:   local.Desk{Dir: dir},
		Self:   self,
		Poll:   set.Poll,
		Now:    time.Now,
		Log:    log,
	}
	return f, nil
}

// The variables that hold tokens of whoever runs this. Each goes to an address that he has named
// himself, and to no other: never to one that only stands in an object of a cluster, which others
// may write.
const (
	gitToken    = "SLUICE_GIT_TOKEN"
	githubToken = "SLUICE_GITHUB_TOKEN"
)

// ownSource follows a branch at an address that the user has named, with the user's token. Forges
// take a token as the password of basic authentication, and do not look at the name beside it.
func ownSource(url, branch, dir string) *git.Source {
	s := &git.Source{URL: url, Branch: branch, Dir: dir}
	if token := strings.TrimSpace(os.Getenv(gitToken)); token != "" {
		s.Username, s.Password = "x-access-token", token
	}
	return s
}

// openForge is nil where nobody is to be told.
func openForge(set settings, token string) (loop.Forge, error) {
	if set.GitHub == "" {
		return nil, nil
	}
	client, err := github.Client(set.GitHubURL, token)
	if err != nil {
		return nil, err
	}
	owner, repo, _ := strings.Cut(set.GitHub, "/")
	return &github.Forge{Client: client, Owner: owner, Repo: repo, Branch: set.Branch, Fleet: set.Name, Login: os.Getenv("SLUICE_GITHUB_LOGIN")}, nil
}

func (f *localFleet) nudge(node string) { poke(f.orders[node]) }

// poke leaves word in a channel that holds one: whoever reads it looks for himself.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// startAgents boots every node. The function that it returns waits for all of them.
func (f *localFleet) startAgents(ctx context.Context) (wait func(), err error) {
	names, err := f.fleet.Names()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the fleet in %s has no nodes: give --inventory FILE once", f.dir)
	}
	for _, name := range names {
		f.orders[name] = make(chan struct{}, 1)
	}
	var group sync.WaitGroup
	for _, name := range names {
		group.Go(func() { f.live(ctx, name) })
	}
	return group.Wait, nil
}

// live is one machine: it boots, its agent works, it reboots.
func (f *localFleet) live(ctx context.Context, name string) {
	for {
		err := f.boot(ctx, name)
		if ctx.Err() != nil {
			return
		}
		pause := f.set.BootTime
		if errors.Is(err, agentloop.ErrReboot) {
			f.log.Info("reboot", "node", name)
		} else {
			f.log.Error("node does not start; it is tried again", "node", name, "error", err)
			pause = retry
		}
		if err := f.fleet.Down(name); err != nil {
			f.log.Error("node", "node", name, "error", err)
		}
		poke(f.wake)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// retry is how long a node that does not start is left alone.
const retry = 2 * time.Second

// scan is how often an agent looks for drift when nothing wakes it.
const scan = 2 * time.Second

// boot is one boot of a machine, from start to the next reboot.
func (f *localFleet) boot(ctx context.Context, name string) error {
	disk, err := host.Open(filepath.Join(f.dir, "nodes", name, "root"))
	if err != nil {
		return err
	}
	defer disk.Close()
	lock, err := disk.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	inbox, err := host.Open(f.dir)
	if err != nil {
		return err
	}
	defer inbox.Close()
	machine := hostlocal.Machine{Files: disk}
	if err := machine.Boot(); err != nil {
		return err
	}
	if err := f.fleet.Up(name); err != nil {
		return err
	}
	agent := &agentloop.Loop{
		Inbox: hostlocal.Inbox{Fleet: inbox, Node: name}, Files: disk, Units: host.Recorder{Files: disk}, OS: machine,
		Now: time.Now, Wary: true, Log: f.log.With("node", name),
	}
	last := ""
	for {
		report, err := agent.Tick(ctx)
		if now := fmt.Sprintf("%d %s %s %d", report.Generation, report.Phase, report.Config, len(report.Drift)); now != last {
			last = now
			f.log.Info("report", "node", name, "phase", report.Phase, "config", report.Config.Short(), "drift", len(report.Drift), "why", report.Why)
			poke(f.wake)
		}
		switch {
		case errors.Is(err, agentloop.ErrReboot):
			return err
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.log.Error("agent", "node", name, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.orders[name]:
		case <-time.After(scan):
		}
	}
}
