// Package loop is the hands of a node's agent: it looks, asks agent.Decide, writes its journal,
// and does. Killed at any point and run again, it finishes or undoes what it was at.
package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
	"github.com/sluice-gitops/sluice/nodeops/impact"
)

// Inbox is where orders come from and where the node's report goes.
type Inbox interface {
	// Order is the newest order for this node; a zero Order says that there is none.
	Order(context.Context) (nodeops.Order, error)
	// Config fetches a config by its digest. What comes is checked against the digest.
	Config(context.Context, machine.Digest) (machine.Config, error)
	// Tell says what the node is. Telling the same again costs nothing.
	Tell(context.Context, nodeops.Report) error
}

// Files is the disk of the node. Paths are absolute and clean, beneath the node's root.
type Files interface {
	// Look says what stands at a path. No symlink at its end is followed, nor one above it that
	// leads out of the root; what cannot be reached for such a reason is agent.Other.
	Look(path string) (agent.Entry, error)
	// Put makes every path of the tree be so, durably, each at once or not at all, and makes the
	// directories above them. Whatever needs space is on the disk before the first path changes.
	// A path that is so already is not written. After an error the same Put may be tried again.
	Put(agent.Tree) error
}

// Units is the service manager of the node.
type Units interface {
	// Do reloads or restarts a unit and returns once that is done. A reload of "" makes the
	// manager read all unit files anew. Any other kind is an error.
	Do(ctx context.Context, kind impact.Kind, unit string) error
}

// OS is what only a boot can change.
type OS interface {
	// BootID names the running boot; it is never used twice.
	BootID(context.Context) (string, error)
	// Booted is what runs now.
	Booted(context.Context) (agent.Booted, error)
	// Stage prepares the next boot with the config's image, kernel arguments, kernel and
	// extensions, in place of what was staged before. An image of "" is the one that the machine
	// came with. Nothing that runs changes.
	Stage(context.Context, machine.Config) error
	// Reboot asks for a reboot. It returns nil once that is under way, or ErrReboot when the
	// process that called has to end for it.
	Reboot(context.Context) error
}

// ErrReboot says that the machine reboots and that the agent's process must end.
var ErrReboot = errors.New("the machine reboots")

// Patience is how long a reboot that was asked for may take to end this process. One that was refused
// is asked for again only then, too: who inhibits it, a package manager say, has work to finish.
const Patience = 10 * time.Minute

// Loop is one node's agent. All of its fields but Wary, Log and Ticked must be set.
type Loop struct {
	Inbox Inbox
	Files Files
	Units Units
	OS    OS
	Now   func() time.Time
	Wary  bool         // takes no order that was there before its memory began; it writes a journal at its first look
	Log   *slog.Logger // nil logs nothing

	// Ticked, if set, is told by Run of every look that ended: what it returned, and how long it took.
	Ticked func(nodeops.Report, time.Duration, error)

	askedIn string // the boot in which this process asked for a reboot
	askedAt time.Time
	denied  string // why that was refused
}

// maxSteps is more than the longest look takes: an order begun, found wanting, and undone.
const maxSteps = 32

// Run ticks at once, at every interval and whenever it is woken, until the context ends (nil) or the
// machine reboots (ErrReboot). Other errors are logged, and the next tick tries again.
func (l *Loop) Run(ctx context.Context, every time.Duration, wake <-chan struct{}) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		began := time.Now()
		r, err := l.Tick(ctx)
		if l.Ticked != nil {
			l.Ticked(r, time.Since(began), err)
		}
		switch {
		case errors.Is(err, ErrReboot):
			return ErrReboot
		case ctx.Err() != nil:
			return nil
		case err != nil:
			l.log().Error("tick", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-ticker.C:
		}
	}
}

// Tick is one look: it goes as far with the order as can be gone without a reboot, tells what the
// node is, and returns that. An error means that something could not be found out, remembered or
// told; what was begun is gone on with at the next tick. After ErrReboot the process must end.
func (l *Loop) Tick(ctx context.Context) (nodeops.Report, error) {
	want, silent := l.Inbox.Order(ctx)
	if silent != nil {
		want = nodeops.Order{} // no news: what was begun is still finished
		silent = fmt.Errorf("read order: %w", silent)
	}
	asked, unseen := want, silent != nil
	var told nodeops.Report
	tell := func(r nodeops.Report) {
		if reflect.DeepEqual(r, told) || ctx.Err() != nil {
			return
		}
		told = r
		if err := l.Inbox.Tell(ctx, r); err != nil {
			silent = errors.Join(silent, fmt.Errorf("tell report: %w", err))
		}
	}
	trouble := ""
	for range maxSteps {
		have, err := l.look(ctx, want)
		if err != nil {
			return told, errors.Join(silent, err)
		}
		if have.Fresh && unseen { // a memory that begins now would take an old order for a new one
			return told, silent
		}
		if have.silent != nil {
			silent = errors.Join(silent, have.silent)
			if have.Lost == "" { // the order cannot be judged without its config
				want = nodeops.Order{}
			}
		}
		have.Trouble = trouble
		job := agent.Decide(want, have.target, have.Local)
		if have.silent != nil && job.Step == agent.Idle { // whoever waits for the order hears of it; why in detail is no two times the same
			job.Report.Why = "config " + asked.Config.Short() + " has not come yet: see the log of this node's agent"
		}
		trouble, err = l.do(ctx, have, job, tell)
		if err != nil {
			if !errors.Is(err, ErrReboot) && ctx.Err() == nil { // that we are told to stop is no trouble of the node's
				r := have.Report()
				r.Why = err.Error()
				if have.Lost != "" || have.Journal.Stage == agent.Rest && have.Journal.Hears(want) {
					r.Generation, r.Phase = max(want.Generation, r.Generation), nodeops.Failed // it could not even be begun: nobody may wait for it in silence
				}
				tell(r)
			}
			return told, errors.Join(silent, err)
		}
		if job.Step.Ends() && trouble == "" {
			return told, silent
		}
	}
	return told, errors.Join(silent, fmt.Errorf("no end after %d steps", maxSteps))
}

func (l *Loop) log() *slog.Logger {
	if l.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l.Log
}
