package hosttest_test

import (
	"testing"

	"github.com/sluice-gitops/sluice/nodeops/agent/loop"
	"github.com/sluice-gitops/sluice/nodeops/agent/loop/hosttest"
)

func TestDisk(t *testing.T) {
	hosttest.Files(t, func(*testing.T) loop.Files { return &hosttest.Disk{} })
}

func TestUnits(t *testing.T) {
	hosttest.Units(t, "crio.service", func(*testing.T) loop.Units { return &hosttest.Services{} })
}

func TestOS(t *testing.T) {
	hosttest.OS(t, func(*testing.T) (loop.OS, func() loop.OS) {
		o := &hosttest.Box{}
		return o, func() loop.OS { return o }
	})
}
