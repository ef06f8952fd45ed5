package loop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent"
)

// do remembers a job, tells of it, and does it. What the node would not let it do comes back as
// words, for Decide to judge; an error is what keeps this look from going on.
func (l *Loop) do(ctx context.Context, have sight, job agent.Job, tell func(nodeops.Report)) (trouble string, err error) {
	if err := l.remember(have, job); err != nil {
		return "", err
	}
	if job.Step != agent.Idle {
		l.log().Info("step", "step", job.Step, "stage", job.Journal.Stage, "generation", job.Journal.Order.Generation,
			"goal", job.Journal.Goal.Short(), "why", job.Report.Why)
	}
	if job.Step.Ends() || job.Step == agent.Write {
		tell(job.Report)
	}
	switch job.Step {
	case agent.Write:
		err = l.Files.Put(job.Put)
	case agent.Act:
		err = l.act(ctx, job)
	case agent.Reboot:
		err = l.reboot(ctx, have)
	case agent.Idle, agent.Refuse, agent.Wait, agent.Settle, agent.Undo, agent.Fail, agent.Recall:
	}
	switch {
	case errors.Is(err, ErrReboot):
		return "", err
	case ctx.Err() != nil: // the agent was told to stop: this says nothing of the config
		return "", ctx.Err()
	case err != nil && job.Step == agent.Reboot:
		l.log().Error("reboot", "error", err) // it counts as asked for
		return "", err
	case err != nil:
		return err.Error(), nil
	case job.Then == agent.Rest:
		return "", nil
	}
	next := job.Journal
	next.Stage = job.Then
	return "", l.saveJournal(next)
}

func (l *Loop) act(ctx context.Context, job agent.Job) error {
	if job.Journal.Staging {
		if err := l.OS.Stage(ctx, job.Stage); err != nil {
			return fmt.Errorf("stage the next boot: %w", err)
		}
	}
	var errs []error
	for _, a := range job.Actions {
		err := l.Units.Do(ctx, a.Kind, a.Unit)
		if err == nil {
			continue
		}
		errs = append(errs, fmt.Errorf("%s %s, because of %s: %w", a.Kind, a.Unit, a.Cause, err))
		if job.Journal.Goal != job.Journal.Current {
			break // it will be undone; but an undo does all that can be done
		}
	}
	return errors.Join(errs...)
}

func (l *Loop) reboot(ctx context.Context, have sight) error {
	l.askedIn, l.askedAt, l.denied = have.BootID, l.Now(), ""
	err := l.OS.Reboot(ctx)
	if err != nil {
		l.denied = err.Error()
	}
	return err
}

// remember stores what a job needs to be found by whoever comes after a crash: first the
// originals and the config, then the journal that speaks of them.
func (l *Loop) remember(have sight, job agent.Job) error {
	first := agent.Tree{}
	if !have.Blind {
		sealed, err := agent.Seal(job.Kept)
		if err != nil {
			return err
		}
		if !bytes.Equal(sealed, have.kept) && (job.Step == agent.Write || have.kept != nil) {
			first[keptPath] = private(sealed)
		}
	}
	if d := job.Journal.Goal; job.Step == agent.Write && d != "" && !have.stored[d] {
		encoded, err := json.Marshal(have.Configs[d].Canonical())
		if err != nil {
			return err
		}
		first[configPath(d)] = private(encoded)
	}
	if err := l.store(first); err != nil {
		return fmt.Errorf("remember what was there before: %w", err)
	}
	sealed, err := agent.Seal(job.Journal)
	if err != nil {
		return err
	}
	if job.Step == agent.Recall || have.Lost == "" && !bytes.Equal(sealed, have.journal) && (have.journal != nil || job.Step != agent.Idle) {
		if err := l.store(agent.Tree{journalPath: private(sealed)}); err != nil {
			return fmt.Errorf("write journal: %w", err)
		}
	}
	return l.forget(have, job)
}

// forget removes the configs that nothing speaks of any more.
func (l *Loop) forget(have sight, job agent.Job) error {
	if job.Step != agent.Settle && job.Step != agent.Recall {
		return nil
	}
	old := agent.Tree{}
	for _, d := range have.Kept.Configs {
		if d != job.Journal.Current {
			old[configPath(d)] = agent.Entry{Kind: agent.Absent}
		}
	}
	if err := l.store(old); err != nil {
		return fmt.Errorf("forget old configs: %w", err)
	}
	return nil
}

func (l *Loop) saveJournal(j agent.Journal) error {
	sealed, err := agent.Seal(j)
	if err == nil {
		err = l.store(agent.Tree{journalPath: private(sealed)})
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

func (l *Loop) store(t agent.Tree) error {
	if len(t) == 0 {
		return nil
	}
	t[agent.StateDir] = agent.Entry{Kind: agent.Dir, Mode: 0o700, UID: agent.Anyone, GID: agent.Anyone}
	return l.Files.Put(t)
}

func private(data []byte) agent.Entry {
	return agent.Entry{Kind: agent.Regular, Mode: 0o600, UID: agent.Anyone, GID: agent.Anyone, Data: data}
}

const (
	journalPath = agent.StateDir + "/journal.json"
	keptPath    = agent.StateDir + "/kept.json"
)

func configPath(d machine.Digest) string {
	return agent.StateDir + "/configs/" + string(d) + ".json"
}
