package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	src := ownSource(url, branch, dir)
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
type inventory struct{ Nodes []listed }

// listed is a node of an inventory.
type listed struct {
	Name    string            `json:"name"`
	Labels  map[string]string `json:"labels"`
	Created birth             `json:"created"` // the oldest of a zone goes first
}

// inventoryFile is where a fleet repository may carry its inventory.
const inventoryFile = "inventory.json"

// birth is a time whose mistakes are told in words.
type birth struct{ time.Time }

func (b *birth) UnmarshalJSON(data []byte) error {
	if err := b.Time.UnmarshalJSON(data); err != nil {
		return fmt.Errorf("created: %s is no time, such as \"2026-01-02T15:04:05Z\"", data)
	}
	return nil
}

func parseInventory(name string, data []byte) (inv inventory, err error) {
	var list struct {
		Nodes []json.RawMessage `json:"nodes"`
	}
	if err := strictly(data, &list); err != nil {
		return inv, fmt.Errorf("%s: %w: want {\"nodes\": [{\"name\": ..., \"labels\": {...}}]}", name, err)
	}
	seen := map[string]bool{}
	for i, body := range list.Nodes {
		var n listed
		if err := strictly(body, &n); err != nil {
			return inv, fmt.Errorf("%s: nodes[%d]: %w", name, i, err)
		}
		switch {
		case n.Name == "":
			return inv, fmt.Errorf("%s: nodes[%d].name: is missing", name, i)
		case seen[n.Name]:
			return inv, fmt.Errorf("%s: nodes[%d].name: %q stands twice", name, i, n.Name)
		}
		seen[n.Name] = true
		inv.Nodes = append(inv.Nodes, n)
	}
	return inv, nil
}

// strictly reads one JSON value and nothing beside it: no field that is not known, and none twice,
// since the later one would silently take the place of the other.
func strictly(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var wrong *json.UnmarshalTypeError
	switch err := dec.Decode(into); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the file ends too early")
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Errorf("%s: a JSON %s does not belong here", wrong.Field, wrong.Value)
	case errors.As(err, &wrong):
		return fmt.Errorf("a JSON %s does not belong here", wrong.Value)
	case err != nil:
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return twice(data)
}

// twice finds a field that stands twice in an object.
func twice(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil // another reader has judged it
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		field := strings.ToLower(fmt.Sprint(key)) // as the other reader takes them
		if seen[field] {
			return fmt.Errorf("%s: stands twice", key)
		}
		seen[field] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
	}
	return nil
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
		out = append(out, reconciler.Node{Name: n.Name, Labels: n.Labels, Created: n.Created.Time, Ready: true})
	}
	return out
}
