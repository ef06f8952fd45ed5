package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/source"
)

// This file is the stage of the demo: what its chapters do and look at.

// git runs git in the working clone, as an author who has no settings of his own.
func (d *demo) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = d.workDir()
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=demo", "GIT_AUTHOR_EMAIL=demo@example.com", "GIT_COMMITTER_NAME=demo", "GIT_COMMITTER_EMAIL=demo@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}

// edit changes a word in a file of the working clone.
func (d *demo) edit(file, from, to string) error {
	path := filepath.Join(d.workDir(), file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), from) {
		return fmt.Errorf("%s does not say %q", file, from)
	}
	d.story.say("    edit      %s: %s -> %s", file, from, to)
	return os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o644)
}

// push commits what was edited, when there is a message, and pushes the branch.
func (d *demo) push(ctx context.Context, message string) (commit string, err error) {
	if message != "" {
		if _, err := d.git(ctx, "commit", "--quiet", "--all", "--message="+message); err != nil {
			return "", err
		}
	}
	if commit, err = d.git(ctx, "rev-parse", "HEAD"); err != nil {
		return "", err
	}
	d.story.say("    push      %s", source.Short(commit))
	_, err = d.git(ctx, "push", "--quiet", "origin", "HEAD")
	return commit, err
}

// patience is how long a chapter waits for what it tells.
const patience = 30 * time.Second

// await looks until what is told has come true.
func (d *demo) await(ctx context.Context, what string, look func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, err := look()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: not within %v", what, patience)
		case <-ticker.C:
		}
	}
}

// landed waits until the forge shows success for both pools on a commit.
func (d *demo) landed(ctx context.Context, commit string) error {
	return d.await(ctx, "success on "+source.Short(commit), func() (bool, error) {
		state, latest := d.repo.Combined(commit)
		for _, st := range latest {
			if st.State == "failure" || st.State == "error" {
				return false, fmt.Errorf("%s is %s: %s", st.Context, st.State, st.Description)
			}
		}
		return state == "success" && len(latest) == 2, nil
	})
}

func (d *demo) root(node string) string { return filepath.Join(d.fleetDir(), "nodes", node, "root") }

// boots are the boot ids of all nodes, from their own reports.
func (d *demo) boots(ctx context.Context) (map[string]string, error) {
	s, err := readSnapshot(ctx, d.fleetDir())
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, n := range s.Nodes {
		out[n.Name] = n.Report.BootID
	}
	return out, nil
}

// trees are digests of all that the nodes hold, but for the agents' own notes: paths, kinds,
// modes, contents, and the kernel arguments and image that each node has booted.
func (d *demo) trees() (map[string]string, error) {
	nodes, err := os.ReadDir(filepath.Join(d.fleetDir(), "nodes"))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, n := range nodes {
		h := sha256.New()
		root := d.root(n.Name())
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if strings.HasSuffix(path, "/var/lib/sluice") {
				return fs.SkipDir
			}
			return hashEntry(h, strings.TrimPrefix(path, root), path, e)
		})
		if err != nil {
			return nil, err
		}
		var machine struct {
			Booted json.RawMessage `json:"booted"`
		}
		if _, err := durable.ReadJSON(filepath.Join(root, "var/lib/sluice/machine.json"), &machine); err != nil {
			return nil, err
		}
		h.Write(machine.Booted)
		out[n.Name()] = hex.EncodeToString(h.Sum(nil))
	}
	return out, nil
}

func hashEntry(w io.Writer, name, path string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s %v\n", name, info.Mode())
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		fmt.Fprintln(w, target)
		return err
	case info.Mode().IsRegular():
		data, err := os.ReadFile(path)
		fmt.Fprintf(w, "%d %s\n", len(data), data)
		return err
	}
	return nil
}

var (
	tags   = regexp.MustCompile(`<!--.*?-->|</?[a-z]+>`)
	blanks = regexp.MustCompile(`\n{3,}`)
)

// plainText is a comment as a terminal shows it: without tags, and with characters for entities.
func plainText(markdown string) string {
	return strings.TrimSpace(blanks.ReplaceAllString(html.UnescapeString(tags.ReplaceAllString(markdown, "")), "\n\n"))
}

// leave makes the folder one that can be explored and gone on with: the forge is gone, so the
// fleet and the clone follow the bare repository on disk.
func (d *demo) leave(ctx context.Context, took time.Duration) error {
	ctx = context.WithoutCancel(ctx) // the controller was told to stop, not we
	bare := filepath.Join(d.dir, "forge", filepath.FromSlash(demoRepo)+".git")
	if _, err := d.git(ctx, "remote", "set-url", "origin", bare); err != nil {
		return err
	}
	set := settings{Name: "demo", Repo: bare, Branch: "main", Poll: time.Second, BootTime: time.Second}
	if err := durable.WriteJSON(filepath.Join(d.fleetDir(), "fleet.json"), set, 0o644); err != nil {
		return err
	}
	d.story.say("\nAll of it was true, in %.0f s. The fleet is yours to go on with:\n", took.Seconds())
	lines := []string{"cd " + d.dir}
	if exe, err := os.Executable(); err == nil {
		if found, err := exec.LookPath("sluice"); err != nil || found != exe {
			lines = append(lines, "export PATH="+filepath.Dir(exe)+":$PATH")
		}
	}
	for _, line := range append(lines,
		"sluice get --local fleet",
		"sluice why --local fleet",
		"sluice preview repo --base HEAD~1 --head HEAD",
		"ls -R fleet/nodes/worker-1/root/etc",
		"(edit repo, commit, git push) and then: sluice run --local fleet --once",
	) {
		d.story.say("  %s", line)
	}
	return nil
}
