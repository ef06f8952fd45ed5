package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/render/kustomize"
)

// tree is all that a node holds, but for its agent's own notes: path -> kind, mode and contents.
type tree map[string]string

func (r *rig) tree(node string) tree {
	r.t.Helper()
	out, root := tree{}, r.root(node)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := "/" + strings.Trim(strings.TrimPrefix(path, root), "/")
		if name == agent.StateDir {
			return fs.SkipDir
		}
		out[name], err = describe(path, e)
		return err
	})
	if err != nil {
		r.t.Fatalf("read node %s: %v", node, err)
	}
	booted, err := os.ReadFile(filepath.Join(root, agent.StateDir, "machine.json"))
	if err != nil {
		r.t.Fatalf("read node %s: %v", node, err)
	}
	var machine struct{ Booted json.RawMessage }
	if err := json.Unmarshal(booted, &machine); err != nil {
		r.t.Fatalf("read node %s: %v", node, err)
	}
	out["(booted)"] = string(machine.Booted)
	return out
}

func describe(path string, e fs.DirEntry) (string, error) {
	info, err := e.Info()
	if err != nil {
		return "", err
	}
	owner := ""
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = fmt.Sprintf(" %d:%d", st.Uid, st.Gid)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return "-> " + target, err
	case info.Mode().IsRegular():
		data, err := os.ReadFile(path)
		return fmt.Sprintf("%v%s %q", info.Mode(), owner, data), err
	}
	return info.Mode().String() + owner, nil
}

func (r *rig) trees() map[string]tree {
	r.t.Helper()
	out := map[string]tree{}
	for name := range r.nodes() {
		out[name] = r.tree(name)
	}
	return out
}

// differences are the paths in which two trees differ, sorted, a line each.
func differences(was, is tree) []string {
	var out []string
	for p := range was {
		if is[p] != was[p] {
			out = append(out, fmt.Sprintf("%s: was %.120s, is %.120s", p, or(was[p], "absent"), or(is[p], "absent")))
		}
	}
	for p := range is {
		if _, ok := was[p]; !ok {
			out = append(out, fmt.Sprintf("%s: was absent, is %.120s", p, is[p]))
		}
	}
	slices.Sort(out)
	return out
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// rendered is what the clone, as it lies on disk, asks of each pool.
func (r *rig) rendered() []render.Pool {
	r.t.Helper()
	builds, err := kustomize.Build(os.DirFS(r.work), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	result, err := render.Pools(builds)
	if err != nil {
		r.t.Fatal(err)
	}
	return result.Pools
}

// holdRendered holds every node against a fresh render of the clone: each file, link and directory
// that is asked for is there to the last bit, and nothing else is but what stood there before.
func (r *rig) holdRendered(before map[string]tree) {
	r.t.Helper()
	pools := r.rendered()
	for name, n := range r.nodes() {
		pool, err := render.Member(pools, n.Labels)
		if err != nil || pool == "" {
			r.t.Errorf("node %s is in pool %q: %v", name, pool, err)
			continue
		}
		i := slices.IndexFunc(pools, func(p render.Pool) bool { return p.Name == pool })
		want, err := agent.TreeOf(pools[i].Config, agent.Facts{})
		if err != nil {
			r.t.Fatal(err)
		}
		if n.Report.Config != pools[i].Config.Digest() {
			r.t.Errorf("node %s says that it is at %s, want %s", name, n.Report.Config.Short(), pools[i].Config.Digest().Short())
		}
		is := r.tree(name)
		for p, e := range want {
			if why := differs(e, is[p]); why != "" {
				r.t.Errorf("node %s: %s %s", name, p, why)
			}
		}
		for p, found := range is {
			_, asked := want[p]
			if !asked && before[name][p] == "" && !strings.HasPrefix(found, "d") && p != "(booted)" {
				r.t.Errorf("node %s: %s: nobody asks for it: %s", name, p, found)
			}
		}
		if args := fmt.Sprintf("%q", pools[i].Config.KernelArgs); len(pools[i].Config.KernelArgs) > 0 && !strings.Contains(strings.Join(strings.Fields(is["(booted)"]), ""), strings.ReplaceAll(strings.Trim(args, "[]"), " ", ",")) {
			r.t.Errorf("node %s: booted %s, want the kernel arguments %s", name, is["(booted)"], args)
		}
	}
}

// differs compares what is asked with what describe has seen, owners aside.
func differs(want agent.Entry, found string) string {
	mode := fs.FileMode(want.Mode).String()
	switch want.Kind {
	case agent.Absent, agent.Vacant:
		if found != "" {
			return "is there: " + found
		}
	case agent.Symlink:
		if found != "-> "+want.Target {
			return fmt.Sprintf("is %s, want a link to %s", or(found, "absent"), want.Target)
		}
	case agent.Dir:
		if !strings.HasPrefix(found, "d"+mode[1:]) {
			return fmt.Sprintf("is %s, want a directory %s", or(found, "absent"), mode)
		}
	case agent.Regular:
		if !strings.HasPrefix(found, mode+" ") || !strings.HasSuffix(found, fmt.Sprintf(" %q", want.Data)) {
			return fmt.Sprintf("is %.200s, want %s %q", or(found, "absent"), mode, want.Data)
		}
	case agent.Other:
	}
	return ""
}

// holdAtRest holds that nothing is left of a rollout: no cordon, no node at work, no reason to wait.
func (r *rig) holdAtRest() {
	r.t.Helper()
	for name, n := range r.nodes() {
		if n.Cordon != reconciler.Uncordoned || !n.Ready {
			r.t.Errorf("node %s was left behind: cordon %q, ready %t", name, n.Cordon, n.Ready)
		}
		if n.Report.Phase != nodeops.Done || n.Report.Generation != n.Order.Generation || len(n.Report.Drift) > 0 {
			r.t.Errorf("node %s is not at rest: %+v", name, n.Report)
		}
	}
	for name, p := range r.state().Pools {
		if p.Phase != reconciler.Updated {
			r.t.Errorf("pool %s is %s: %s %v", name, p.Phase, p.Halt, p.Waiting)
		}
	}
	for line := range strings.Lines(string(r.sluice("why", "--local", r.dir))) {
		if !strings.HasPrefix(line, "nothing holds it") && !strings.HasPrefix(line, "fleet: wait (controller)") { // it may have been stopped
			r.t.Errorf("why: %s", line)
		}
	}
}
