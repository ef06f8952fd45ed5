package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/policy/facts"
	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/render"
)

// outside is what the operator says of the world beside the fleet. Files are named by their path,
// and read at each start.
type outside struct {
	Prometheus  string   `json:"prometheus,omitempty"`  // the address that health gates ask
	ProbeHosts  []string `json:"probeHosts,omitempty"`  // that health gates may ask over HTTP; none is all
	TrustedKeys string   `json:"trustedKeys,omitempty"` // a file
	Guardrail   string   `json:"guardrail,omitempty"`   // a file

	keys string // in the place of TrustedKeys, which then says where they stand
}

func (o *outside) flags(f *pflag.FlagSet) {
	f.StringVar(&o.Prometheus, "prometheus", "", "the URL of the Prometheus that health gates ask")
	f.StringSliceVar(&o.ProbeHosts, "probe-hosts", nil, "the hosts, as HOST or HOST:PORT, that health gates may ask over HTTP (default any)")
	f.StringVar(&o.TrustedKeys, "trusted-keys", "", "a file of OpenPGP keys and allowed_signers lines, whose signatures count")
	guardrailFlag(f, &o.Guardrail)
}

func guardrailFlag(f *pflag.FlagSet, file *string) {
	f.StringVar(file, "guardrail", "", "a RolloutPolicy file that every pool obeys besides its own, and no commit can relax")
}

// validate finds what no start could use, and makes paths whole.
func (o *outside) validate() error {
	if o.Prometheus != "" {
		if _, err := facts.OpenPrometheus(o.Prometheus); err != nil {
			return usage("--prometheus: " + err.Error())
		}
	}
	var err error
	if o.TrustedKeys, err = whole(o.TrustedKeys); err != nil {
		return err
	}
	o.Guardrail, err = whole(o.Guardrail)
	return err
}

func whole(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// inquiry is who asks for facts, as the operator has set it up.
func (o outside) inquiry(commits facts.Commits, forge loop.Forge, log *slog.Logger) (*facts.Inquiry, error) {
	q := &facts.Inquiry{Web: &facts.Web{Hosts: o.ProbeHosts}, Commits: commits, Now: time.Now, Log: log}
	q.Forge, _ = forge.(facts.Forge) // a forge that knows of no reviews leaves them unknown
	var err error
	if o.Prometheus != "" {
		if q.Prometheus, err = facts.OpenPrometheus(o.Prometheus); err != nil {
			return nil, err
		}
	}
	if o.TrustedKeys != "" {
		data := []byte(o.keys)
		if o.keys == "" {
			if data, err = os.ReadFile(o.TrustedKeys); err != nil {
				return nil, fmt.Errorf("read trusted keys: %w", err)
			}
		}
		if q.Keys, err = facts.ParseKeys(data); err != nil {
			return nil, fmt.Errorf("read trusted keys of %s: %w", o.TrustedKeys, err)
		}
	}
	return q, nil
}

// readPolicy reads a file that holds one RolloutPolicy.
func readPolicy(file string) (policy.Rollout, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return policy.Rollout{}, err
	}
	return render.Rollout(render.Document{File: file, Line: 1, Body: data})
}

// readGuardrail is nil where no file is named.
func readGuardrail(file string) (*policy.Rollout, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read guardrail: %w", err)
	}
	r, err := render.Guardrail(render.Document{File: file, Line: 1, Body: data})
	if err != nil {
		return nil, fmt.Errorf("read guardrail: %w", err)
	}
	return &r, nil
}
