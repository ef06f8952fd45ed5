package local

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
)

// Inbox is a node's orders in the folder of a fleet: configs/DIGEST.json (a machine.Config) for
// all, and nodes/NAME/order.json and report.json for each. Every file in it must be written whole
// or not at all.
type Inbox struct {
	Fleet loop.Files // beneath the fleet's folder
	Node  string
}

func (i Inbox) file(name string) string { return "/nodes/" + i.Node + "/" + name + ".json" }

// Order is the node's order; no file is no order. One for another node is an error.
func (i Inbox) Order(context.Context) (o nodeops.Order, err error) {
	if _, err := get(i.Fleet, i.file("order"), &o); err != nil {
		return nodeops.Order{}, err
	}
	if o.Node != "" && o.Node != i.Node {
		return nodeops.Order{}, fmt.Errorf("%s: is for node %q", i.file("order"), o.Node)
	}
	return o, nil
}

// Config reads a config of the fleet.
func (i Inbox) Config(_ context.Context, d machine.Digest) (c machine.Config, err error) {
	if strings.ContainsAny(string(d), "/\x00") || d == "" {
		return c, fmt.Errorf("config %q: is not a digest", d)
	}
	found, err := get(i.Fleet, "/configs/"+string(d)+".json", &c)
	if err == nil && !found {
		err = fmt.Errorf("/configs/%s.json: there is no such file", d)
	}
	return c, err
}

// Tell writes the node's report, unless it stands there already.
func (i Inbox) Tell(_ context.Context, r nodeops.Report) error {
	e, err := encode(r, 0o644)
	if err != nil {
		return err
	}
	return i.Fleet.Put(agent.Tree{i.file("report"): e})
}

// get reads a JSON file; found is false when there is none.
func get(files loop.Files, path string, into any) (found bool, err error) {
	e, err := files.Look(path)
	switch {
	case err != nil:
		return false, fmt.Errorf("read %s: %w", path, err)
	case e.Kind == agent.Absent:
		return false, nil
	case e.Kind != agent.Regular:
		return false, fmt.Errorf("read %s: it is no file", path)
	}
	if err := json.Unmarshal(e.Data, into); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return true, nil
}
