package loop_test

import (
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/source"
)

// The clock of a cluster may be set back by hours. What was to rest for a minute does not rest that long.
func TestAClockThatIsSetBackHoldsUpNothing(t *testing.T) {
	for name, silent := range map[string]bool{"Git is asked": false, "and the forge, which did not answer": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.loop.Poll = 30 * time.Second
			w.source.Push(reboots("a"))
			w.settle()
			if silent {
				w.forge.Fail(errDown)
				w.source.Push(reboots("b"))
				w.run(60)
				w.forge.Fail(nil)
			}
			w.now = w.now.Add(-5 * time.Hour)
			next := w.source.Push(reboots("c"))
			w.settle()
			w.holdSaid(next, "worker", source.Success, "3 of 3")
		})
	}
}
