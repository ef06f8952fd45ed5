package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-gitops/sluice/examples"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/reconciler/local"
	"github.com/sluice-gitops/sluice/source/forge/loopback"
)

func demoCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Tell the whole story on this machine, in under a minute",
		Long: "Demo makes a fleet repository, a small forge on loopback that serves it by real Git, and six\n" +
			"nodes that are directories. Then it pushes, merges, breaks and reverts, and checks at each step\n" +
			"that what it tells is true. It needs git, and nothing else.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := exec.LookPath("git"); err != nil {
				return errors.New("the demo needs git: install it and try again")
			}
			made, err := demoDir(dir)
			if err != nil {
				return err
			}
			d := &demo{dir: made, story: newStory(c.OutOrStdout())}
			return d.tell(c.Context())
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "an empty or new folder to tell it in (default: a new one in the system's place for such)")
	return c
}

func demoDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "sluice-demo-")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return "", err
	}
	if entries, err := os.ReadDir(abs); err != nil || len(entries) > 0 {
		return "", errors.Join(err, fmt.Errorf("%s is not empty: the demo wants a folder of its own", dir))
	}
	return abs, nil
}

// demo is one telling of the story.
type demo struct {
	dir   string
	story *story
	forge *loopback.Server
	repo  *loopback.Repo

	before map[string]string // digests of all trees before the merge
}

const (
	demoRepo  = "acme/fleet"
	demoPool  = "worker"
	hugepages = "pools/worker/50-hugepages.yaml"
	site      = "pools/edge/50-registries.yaml"
	clock     = "etc/chrony.conf"
)

func (d *demo) fleetDir() string { return filepath.Join(d.dir, "fleet") }
func (d *demo) workDir() string  { return filepath.Join(d.dir, "repo") }

// tell is the story. Every chapter checks its own outcome; the first that is not true ends it.
func (d *demo) tell(ctx context.Context) error {
	began := time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	defer d.forge.Close()
	stopped := make(chan error, 1)
	go func() { stopped <- d.control(ctx) }()
	chapters := []struct {
		title string
		tell  func(context.Context) error
	}{
		{"Six bare nodes in two pools adopt the repository: two workers at a time, one edge node", d.adopt},
		{"A push that only reloads a service on the edge nodes", d.reload},
		{"A pull request that would reboot workers, and what it says before it is merged", d.propose},
		{"Merged: the workers reboot, in the waves that the comment foretold", d.merge},
		{"Somebody edits a file on worker-2: drift", d.drift},
		{"A revert rolls back, to the last byte", d.revert},
	}
	for i, c := range chapters {
		d.story.say("\n%d/%d  %s", i+1, len(chapters), c.title)
		if err := c.tell(ctx); err != nil {
			return fmt.Errorf("chapter %d is not true: %w\nthe folder is %s", i+1, err, d.dir)
		}
	}
	stop()
	if err := <-stopped; err != nil {
		return err
	}
	return d.leave(ctx, time.Since(began))
}

// prepare makes the repository, the forge that serves it and the nodes.
func (d *demo) prepare(ctx context.Context) (err error) {
	d.forge, err = loopback.Start(filepath.Join(d.dir, "forge"))
	if err != nil {
		return fmt.Errorf("start forge: %w", err)
	}
	if d.repo, err = d.forge.Create(demoRepo); err != nil {
		return fmt.Errorf("create repository: %w", err)
	}
	quickstart, err := fs.Sub(examples.Quickstart, "quickstart")
	if err != nil {
		return err
	}
	if err := os.CopyFS(d.workDir(), quickstart); err != nil {
		return fmt.Errorf("copy example: %w", err)
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"remote", "add", "origin", d.forge.CloneURL(demoRepo)},
		{"add", "--all"},
		{"commit", "--quiet", "--message=start the fleet"},
		{"push", "--quiet", "--set-upstream", "origin", "main"},
	} {
		if _, err := d.git(ctx, args...); err != nil {
			return err
		}
	}
	d.story.say("folder      %s", d.dir)
	d.story.say("repository  %s", d.forge.CloneURL(demoRepo))
	return enlist(d.fleetDir(), filepath.Join(d.workDir(), inventoryFile))
}

// control is the controller with its agents, as in sluice run --local.
func (d *demo) control(ctx context.Context) error {
	set := settings{
		Name: "demo", Repo: d.forge.CloneURL(demoRepo), Branch: "main", Poll: 300 * time.Millisecond,
		GitHub: demoRepo, GitHubURL: d.forge.APIURL(), BootTime: 700 * time.Millisecond,
	}
	release, err := local.Lock(d.fleetDir())
	if err != nil {
		return err
	}
	defer release()
	return runLocal(ctx, d.fleetDir(), set, false, slog.New(d.story))
}

func (d *demo) adopt(ctx context.Context) error {
	commit, err := d.git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	if err := d.landed(ctx, commit); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(d.root("edge-1"), clock))
	if err == nil && !bytes.Contains(text, []byte("server time.example.com")) {
		err = fmt.Errorf("/%s of edge-1 is %q", clock, text)
	}
	return err
}

// reload changes a file that the container runtime reloads. No node may reboot for it.
func (d *demo) reload(ctx context.Context) error {
	before, err := d.boots(ctx)
	if err != nil {
		return err
	}
	if err := d.edit(site, "use-sigstore-attachments:%20true", "use-sigstore-attachments:%20false"); err != nil {
		return err
	}
	commit, err := d.push(ctx, "stop looking for sigstore attachments")
	if err != nil {
		return err
	}
	if err := d.landed(ctx, commit); err != nil {
		return err
	}
	after, err := d.boots(ctx)
	if err != nil {
		return err
	}
	for node, id := range before {
		if after[node] != id {
			return fmt.Errorf("%s has rebooted", node)
		}
	}
	log, err := os.ReadFile(filepath.Join(d.root("edge-2"), "var/lib/sluice/units.log"))
	if err != nil {
		return err
	}
	if !bytes.Contains(log, []byte("reload crio.service")) {
		return errors.New("crio.service was not reloaded on edge-2")
	}
	d.before, err = d.trees()
	return err
}

// propose opens a pull request and shows the comment that it gets.
func (d *demo) propose(ctx context.Context) error {
	if _, err := d.git(ctx, "switch", "--quiet", "--create", "more-hugepages"); err != nil {
		return err
	}
	if err := d.edit(hugepages, "hugepages=64", "hugepages=128"); err != nil {
		return err
	}
	if _, err := d.git(ctx, "commit", "--quiet", "--all", "--message=more huge pages for the databases"); err != nil {
		return err
	}
	if _, err := d.git(ctx, "push", "--quiet", "origin", "more-hugepages"); err != nil {
		return err
	}
	number, err := d.repo.Open("More huge pages for the databases", "more-hugepages")
	if err != nil {
		return err
	}
	var body string
	err = d.await(ctx, "a comment below the pull request", func() (bool, error) {
		for _, c := range d.repo.Comments(number) {
			body = c.Body
		}
		return body != "", nil
	})
	if err != nil {
		return err
	}
	for line := range strings.Lines(plainText(body)) {
		d.story.say("    | %s", strings.TrimRight(line, "\n"))
	}
	if !strings.Contains(body, "4 nodes reboot (worker)") || !strings.Contains(body, "kernelArguments") {
		return errors.New("the comment does not say that four workers reboot for their kernel arguments")
	}
	return nil
}

// merge merges, and holds what happens against what was foretold.
func (d *demo) merge(ctx context.Context) error {
	foretold, err := makePreview(ctx, d.workDir(), "main", "more-hugepages", nodesOf{fleet: d.fleetDir()}, time.Now())
	if err != nil {
		return err
	}
	var waves [][]string
	for _, p := range foretold.Pools {
		waves = append(waves, p.Waves...)
	}
	before, err := d.boots(ctx)
	if err != nil {
		return err
	}
	d.story.take()
	commit, err := d.repo.Merge(1)
	if err != nil {
		return err
	}
	if err := d.landed(ctx, commit); err != nil {
		return err
	}
	sent := d.story.take()
	after, err := d.boots(ctx)
	if err != nil {
		return err
	}
	for node, id := range before {
		if rebooted := after[node] != id; rebooted != strings.HasPrefix(node, demoPool) {
			return fmt.Errorf("%s rebooted: %t", node, rebooted)
		}
	}
	for _, wave := range waves {
		now := slices.Clone(sent[:min(len(wave), len(sent))])
		sent = sent[len(now):]
		slices.Sort(now)
		if !slices.Equal(now, slices.Sorted(slices.Values(wave))) {
			return fmt.Errorf("foretold was the wave %v, and %v went", wave, now)
		}
	}
	if len(sent) > 0 {
		return fmt.Errorf("nobody foretold %v", sent)
	}
	for i, wave := range waves {
		d.story.say("    wave %d as foretold: %s", i+1, strings.Join(wave, ", "))
	}
	return nil
}

// drift breaks a file, waits until it is found, and puts it back as a person would.
func (d *demo) drift(ctx context.Context) error {
	path := filepath.Join(d.root("worker-2"), clock)
	good, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte("server somewhere.else\n"), 0o644); err != nil {
		return err
	}
	err = d.await(ctx, "the drift to be seen", func() (bool, error) {
		s, err := readSnapshot(ctx, d.fleetDir())
		if err != nil || s.State.Pools[demoPool].Phase != reconciler.Degraded {
			return false, err
		}
		for _, r := range s.why() {
			if r.Node == "worker-2" && strings.Contains(r.Reason, "/"+clock) {
				d.story.say("    why       %s: %s (%s): %s", r.Node, r.Outcome, r.Check, r.Reason)
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, good, 0o644); err != nil {
		return err
	}
	d.story.say("    (put back by hand)")
	return d.await(ctx, "the drift to be gone", func() (bool, error) {
		s, err := readSnapshot(ctx, d.fleetDir())
		return s.State.Pools[demoPool].Phase == reconciler.Updated, err
	})
}

// revert takes the merge back, and compares every byte of every node with what it was.
func (d *demo) revert(ctx context.Context) error {
	if _, err := d.git(ctx, "switch", "--quiet", "main"); err != nil {
		return err
	}
	if _, err := d.git(ctx, "pull", "--quiet", "--ff-only", "origin", "main"); err != nil {
		return err
	}
	if _, err := d.git(ctx, "revert", "--no-edit", "--mainline=1", "HEAD"); err != nil {
		return err
	}
	commit, err := d.push(ctx, "")
	if err != nil {
		return err
	}
	if err := d.landed(ctx, commit); err != nil {
		return err
	}
	now, err := d.trees()
	if err != nil {
		return err
	}
	for node, was := range d.before {
		if now[node] != was {
			return fmt.Errorf("%s is not what it was before the merge", node)
		}
	}
	for _, st := range d.repo.Statuses(commit) {
		if strings.Contains(st.Description, "rollback to") {
			d.story.say("    all %d nodes are byte for byte what they were before the merge", len(now))
			return nil
		}
	}
	return fmt.Errorf("no status of %s says that it is a rollback", commit[:7])
}
