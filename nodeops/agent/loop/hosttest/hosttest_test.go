package hosttest_test

import (
	"testing"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop/hosttest"
)

func TestDisk(t *testing.T) {
	hosttest.Files(t, func(*testing.T) loop.Files { return &hosttest.Disk{} })
}

func TestUnits(t *testing.T) {
	hosttest.Units(t, "crio.service", func(*testing.T) loop.Units { return &hosttest.Services{} })
}

func TestInbox(t *testing.T) {
	hosttest.Inboxes(t, func(*testing.T) hosttest.InboxRig {
		in := &hosttest.Inbox{}
		return hosttest.InboxRig{
			Inbox: in,
			Send:  func(o nodeops.Order) { in.Want = o },
			Keep:  func(c machine.Config) { in.Configs = map[machine.Digest]machine.Config{c.Digest(): c} },
			Told: func() (r nodeops.Report) {
				if n := len(in.Told); n > 0 {
					r = in.Told[n-1]
				}
				return r
			},
			Spoil: func() { in.Told = append(in.Told, nodeops.Report{}) },
			Count: func() int { return len(in.Told) },
		}
	})
}

func TestOS(t *testing.T) {
	hosttest.OS(t, func(*testing.T) (loop.OS, func() loop.OS) {
		o := &hosttest.Box{}
		return o, func() loop.OS { return o }
	})
}
