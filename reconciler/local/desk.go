package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/sluice-gitops/sluice/durable"
	"github.com/sluice-gitops/sluice/policy"
)

// Desk is what operators ask of the fleet below a directory, in DIR/holds.json. It is a loop.Desk.
// The controller only reads it, so that it can be written while one runs.
type Desk struct{ Dir string }

// asked is holds.json.
type asked struct {
	Holds   []policy.Hold `json:"holds,omitempty"`
	Allowed string        `json:"allowed,omitempty"`
}

// Holds are all holds, those whose time is over included.
func (d Desk) Holds(context.Context) ([]policy.Hold, error) {
	a, err := d.read()
	return a.Holds, err
}

// Allowed is the commit that may be followed although its branch was rewritten.
func (d Desk) Allowed(context.Context) (string, error) {
	a, err := d.read()
	return a.Allowed, err
}

// Hold adds a hold. One of the same person on the same pool is replaced; somebody else's stays.
func (d Desk) Hold(h policy.Hold) error {
	return d.change(func(a *asked) {
		a.Holds = slices.DeleteFunc(a.Holds, func(old policy.Hold) bool {
			return old.Pool == h.Pool && old.By == h.By || !old.Until.IsZero() && !h.Since.Before(old.Until)
		})
		a.Holds = append(a.Holds, h)
	})
}

// Release takes away every hold for which mine says so, and returns them.
func (d Desk) Release(mine func(policy.Hold) bool) (gone []policy.Hold, err error) {
	err = d.change(func(a *asked) {
		a.Holds = slices.DeleteFunc(a.Holds, func(h policy.Hold) bool {
			if !mine(h) {
				return false
			}
			gone = append(gone, h)
			return true
		})
	})
	return gone, err
}

// Allow lets the fleet follow this commit although its branch was rewritten.
func (d Desk) Allow(commit string) error {
	return d.change(func(a *asked) { a.Allowed = commit })
}

func (d Desk) read() (a asked, err error) {
	if _, err = durable.ReadJSON(d.path("holds.json"), &a); err != nil {
		err = fmt.Errorf("%w: put the file right, or take it away to have no holds", err)
	}
	return a, err
}

func (d Desk) path(file string) string { return filepath.Join(d.Dir, file) }

// change is one person's turn at the file: two that come together wait for each other.
func (d Desk) change(what func(*asked)) error {
	lock, err := os.OpenFile(d.path("holds.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	defer lock.Close() // releases it
	for {              // a signal may interrupt the wait
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	a, err := d.read()
	if err != nil {
		return fmt.Errorf("read holds: %w", err)
	}
	what(&a)
	return durable.WriteJSON(d.path("holds.json"), a, 0o644)
}
