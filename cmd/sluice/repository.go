package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/sluice-gitops/sluice/reconciler"
	"github.com/sluice-gitops/sluice/render"
	"github.com/sluice-gitops/sluice/render/butane"
	"github.com/sluice-gitops/sluice/render/kustomize"
	"github.com/sluice-gitops/sluice/source/git"
)

// renderTree renders all pools of a tree. An author's mistakes come back as render.Errors.
func renderTree(tree fs.FS, paths []string, o render.Options) (render.Result, error) {
	built, err := builds.Build(tree, paths)
	if err != nil {
		return render.Result{}, err
	}
	return o.Pools(built)
}

// builds are those of this process: two revisions of a repository share most of what they build.
var builds = kustomize.Cache{Butane: butane.MachineConfig}

// openTree opens a fleet repository as it lies on disk, or a revision of it, local or remote.
func openTree(ctx context.Context, at, revision string) (fs.FS, func(), error) {
	nothing := func() {}
	switch {
	case strings.Contains(at, "://"):
		return openRemote(ctx, at, revision)
	case revision == "":
		root, err := os.OpenRoot(at) // symbolic links that leave it are refused
		if err != nil {
			return nil, nil, fmt.Errorf("open %q: %w", at, err)
		}
		return root.FS(), func() { root.Close() }, nil
	}
	repo, err := git.Open(at)
	if err != nil {
		return nil, nil, err
	}
	commit, err := repo.Resolve(revision)
	if err != nil {
		return nil, nil, err
	}
	tree, err := repo.Tree(commit)
	return tree, nothing, err
}

// openRemote follows a branch once, in a folder that goes away again.
func openRemote(ctx context.Context, url, branch string) (fs.FS, func(), error) {
	if branch == "" {
		branch = "main"
	}
	dir, err := os.MkdirTemp("", "sluice-")
	if err != nil {
		return nil, nil, err
	}
	done := func() { os.RemoveAll(dir) }
	src := gitSource(url, branch, dir)
	sighting, err := src.Look(ctx)
	if err != nil {
		done()
		return nil, nil, err
	}
	tree, err := src.Tree(ctx, sighting.Head.Commit)
	if err != nil {
		done()
		return nil, nil, err
	}
	return tree, done, nil
}

// inventory is the file that says which nodes there are, for whoever cannot ask a cluster:
//
//	{"nodes": [{"name": "worker-1", "labels": {"node-role.kubernetes.io/worker": ""}, "created": "2026-01-02T15:04:05Z"}]}
type inventory struct {
	Nodes []struct {
		Name    string            `json:"name"`
		Labels  map[string]string `json:"labels"`
		Created time.Time         `json:"created"` // the oldest of a zone goes first
	} `json:"nodes"`
}

// inventoryFile is where a fleet repository may carry its inventory.
const inventoryFile = "inventory.json"

func parseInventory(name string, data []byte) (inv inventory, err error) {
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&inv); err != nil {
		return inv, fmt.Errorf("%s: %w", name, err)
	}
	seen := map[string]bool{}
	for i, n := range inv.Nodes {
		switch {
		case n.Name == "":
			return inv, fmt.Errorf("%s: nodes[%d].name: is missing", name, i)
		case seen[n.Name]:
			return inv, fmt.Errorf("%s: nodes[%d].name: %q stands twice", name, i, n.Name)
		}
		seen[n.Name] = true
	}
	return inv, nil
}

// readInventory reads the file that was named, or else the one that the tree carries, if any.
func readInventory(named string, tree fs.FS) (inventory, error) {
	if named != "" {
		data, err := os.ReadFile(named)
		if err != nil {
			return inventory{}, err
		}
		return parseInventory(named, data)
	}
	data, err := fs.ReadFile(tree, inventoryFile)
	if errors.Is(err, fs.ErrNotExist) {
		return inventory{}, nil
	}
	if err != nil {
		return inventory{}, err
	}
	return parseInventory(inventoryFile, data)
}

// nodes are the machines of an inventory, ready and at rest.
func (inv inventory) nodes() []reconciler.Node {
	out := make([]reconciler.Node, 0, len(inv.Nodes))
	for _, n := range inv.Nodes {
		out = append(out, reconciler.Node{Name: n.Name, Labels: n.Labels, Created: n.Created, Ready: true})
	}
	return out
}
