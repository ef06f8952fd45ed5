// Package local is a fleet in a directory: one machine, or many roots. It is the embedded
// default, with the same loop and the same agents as a fleet on Kubernetes.
//
//	DIR/state.json                what the controller remembers
//	DIR/holds.json                what operators ask: holds, and a rewritten branch that is allowed
//	DIR/lock                      held by the one controller that may run
//	DIR/configs/DIGEST.json       every config that an order may name
//	DIR/nodes/NAME/node.json      labels and age of a node
//	DIR/nodes/NAME/order.json     what it should become; written by the controller
//	DIR/nodes/NAME/report.json    what it is; written by its agent
//	DIR/nodes/NAME/cordon.json    who keeps new work from it
//	DIR/nodes/NAME/down           there while the machine is rebooting
//	DIR/nodes/NAME/root/          its file system
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/reconciler"
)

// Fleet is the nodes below a directory. It is a loop.Fleet.
type Fleet struct {
	Dir   string
	Nudge func(node string) // called after a node got a new order; may be nil
}

// identity is node.json.
type identity struct {
	Labels  map[string]string `json:"labels"`
	Created time.Time         `json:"created"`
}

// cordon is cordon.json.
type cordon struct {
	By string `json:"by"`
}

// owner is how our own cordons are signed; any other name is somebody else's.
const owner = "sluice"

var nodeName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// Enlist makes a node's directory, or gives an existing node new labels. The name must be one
// that Kubernetes would take, too.
func Enlist(dir, name string, labels map[string]string, now time.Time) error {
	if !nodeName.MatchString(name) {
		return fmt.Errorf("node %q: a name is lower case letters, digits, dots and dashes", name)
	}
	home := filepath.Join(dir, "nodes", name)
	if err := os.MkdirAll(filepath.Join(home, "root"), 0o755); err != nil {
		return fmt.Errorf("make node %s: %w", name, err)
	}
	id := identity{Created: now.UTC().Truncate(time.Second)}
	if _, err := durable.ReadJSON(filepath.Join(home, "node.json"), &id); err != nil {
		return fmt.Errorf("read node %s: %w", name, err)
	}
	id.Labels = labels
	if err := durable.WriteJSON(filepath.Join(home, "node.json"), id, 0o644); err != nil {
		return fmt.Errorf("make node %s: %w", name, err)
	}
	return nil
}

// Names lists the nodes, sorted.
func (f Fleet) Names() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(f.Dir, "nodes"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(f.Dir, "nodes", e.Name(), "node.json")); err == nil {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Nodes is the fleet as its files say now.
func (f Fleet) Nodes(context.Context) ([]reconciler.Node, error) {
	names, err := f.Names()
	if err != nil {
		return nil, err
	}
	out := make([]reconciler.Node, 0, len(names))
	for _, name := range names {
		n, err := f.node(name)
		if err != nil {
			return nil, fmt.Errorf("read node %s: %w", name, err)
		}
		out = append(out, n)
	}
	return out, nil
}

// node reads one node. A file of it that is damaged is that node's trouble, and nobody else's.
func (f Fleet) node(name string) (reconciler.Node, error) {
	n := reconciler.Node{Name: name}
	var id identity
	var c cordon
	var damaged error
	for _, file := range []struct {
		name string
		into any
	}{{"node.json", &id}, {"order.json", &n.Order}, {"report.json", &n.Report}, {"cordon.json", &c}} {
		if _, err := durable.ReadJSON(f.path(name, file.name), file.into); err != nil {
			damaged = errors.Join(damaged, err)
		}
	}
	n.Labels, n.Created = id.Labels, id.Created
	_, err := os.Stat(f.path(name, "down"))
	n.Ready = errors.Is(err, os.ErrNotExist)
	switch c.By {
	case "":
	case owner:
		n.Cordon, n.Drained = reconciler.Ours, true // a directory runs nothing that would have to leave
	default:
		n.Cordon = reconciler.Foreign
	}
	if damaged != nil { // nobody knows what it was told, or by whom: it is left alone, and holds a slot
		n.Ready, n.Cordon, n.Drained = false, reconciler.Foreign, false
		n.Report.Why = damaged.Error() + ": put the file back, or take it away"
	}
	return n, nil
}

func (f Fleet) path(node, file string) string { return filepath.Join(f.Dir, "nodes", node, file) }

// Send writes a node's order, unless the node has a newer one.
func (f Fleet) Send(_ context.Context, order nodeops.Order) error {
	var has nodeops.Order
	if _, err := durable.ReadJSON(f.path(order.Node, "order.json"), &has); err != nil {
		has = nodeops.Order{} // damaged: the new one heals it
	}
	if has.Generation > order.Generation {
		return fmt.Errorf("node has the newer generation %d", has.Generation)
	}
	if err := durable.WriteJSON(f.path(order.Node, "order.json"), order, 0o644); err != nil {
		return err
	}
	if f.Nudge != nil {
		f.Nudge(order.Node)
	}
	return nil
}

// Drain signs the node as cordoned by us. A directory runs nothing that would have to leave.
func (f Fleet) Drain(_ context.Context, d reconciler.Drain) error {
	var c cordon
	node := d.Node
	if _, err := durable.ReadJSON(f.path(node, "cordon.json"), &c); err != nil {
		return err
	}
	if c.By != "" && c.By != owner {
		return fmt.Errorf("node is cordoned by %s", c.By)
	}
	return durable.WriteJSON(f.path(node, "cordon.json"), cordon{By: owner}, 0o644)
}

// Uncordon takes our signature away. Somebody else's stays.
func (f Fleet) Uncordon(_ context.Context, node string) error {
	var c cordon
	if _, err := durable.ReadJSON(f.path(node, "cordon.json"), &c); err != nil {
		return err
	}
	if c.By != owner {
		return nil
	}
	if err := os.Remove(f.path(node, "cordon.json")); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Join(f.Dir, "nodes", node))
}

// Down marks a node as not ready for as long as it reboots.
func (f Fleet) Down(node string) error {
	return durable.WriteFile(f.path(node, "down"), nil, 0o644)
}

// Up ends what Down began.
func (f Fleet) Up(node string) error {
	if err := os.Remove(f.path(node, "down")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return durable.SyncDir(filepath.Join(f.Dir, "nodes", node))
}

// Store keeps the state and the configs in files. It is a loop.Store.
type Store struct {
	Dir       string
	version   uint64    // of the state that was loaded or saved last
	collected time.Time // when configs were last looked through
}

// saved is state.json.
type saved struct {
	Version uint64           `json:"version"`
	State   reconciler.State `json:"state"`
}

// Load reads the state.
func (s *Store) Load(context.Context) (reconciler.State, error) {
	var have saved
	if _, err := durable.ReadJSON(filepath.Join(s.Dir, "state.json"), &have); err != nil {
		return reconciler.State{}, fmt.Errorf("%w: take the file away; what it remembered is found again, but for the history", err)
	}
	s.version = have.Version
	return have.State, nil
}

// Save replaces the state, if it is still the one that this store knows.
func (s *Store) Save(_ context.Context, state reconciler.State) error {
	var have saved
	if _, err := durable.ReadJSON(filepath.Join(s.Dir, "state.json"), &have); err != nil {
		return err
	}
	if have.Version != s.version {
		return fmt.Errorf("state is at version %d, not %d: another controller writes here", have.Version, s.version)
	}
	if err := durable.WriteJSON(filepath.Join(s.Dir, "state.json"), saved{s.version + 1, state}, 0o600); err != nil {
		return err
	}
	s.version++
	return nil
}

// Config reads a config that was kept.
func (s *Store) Config(_ context.Context, d machine.Digest) (machine.Config, bool, error) {
	var c machine.Config
	if strings.ContainsAny(string(d), "/.") {
		return c, false, nil
	}
	data, err := os.ReadFile(s.config(d))
	if errors.Is(err, os.ErrNotExist) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	if json.Unmarshal(data, &c) != nil || c.Digest() != d {
		return machine.Config{}, false, nil // damaged: as good as gone; rendering it again heals it
	}
	return c, true, nil
}

// Keep writes a config under its digest. It may hold secrets. The file's time is when it was last kept.
func (s *Store) Keep(ctx context.Context, c machine.Config) error {
	d := c.Digest()
	if _, ok, err := s.Config(ctx, d); !ok || err != nil {
		if err := os.MkdirAll(filepath.Join(s.Dir, "configs"), 0o700); err != nil {
			return err
		}
		if err := durable.WriteJSON(s.config(d), c, 0o600); err != nil {
			return err
		}
	}
	return os.Chtimes(s.config(d), time.Time{}, time.Now())
}

func (s *Store) config(d machine.Digest) string {
	return filepath.Join(s.Dir, "configs", string(d)+".json")
}

// Lock makes this process the only controller of the fleet, until it ends or calls release.
func Lock(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make fleet: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	for range 10 { // whoever asks whether a controller runs has the lock for an instant
		if err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { file.Close() }, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	file.Close()
	return nil, fmt.Errorf("lock %s: another controller runs on this fleet", dir)
}

// Runs says whether a controller runs on the fleet now.
func Runs(dir string) (bool, error) {
	file, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock: %w", err)
	}
	defer file.Close() // releases it
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
