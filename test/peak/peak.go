// Package peak measures for benchmarks how much memory one run of something needs at once.
package peak

import (
	"runtime"
	"runtime/metrics"
	"time"
)

const heap = "/memory/classes/heap/objects:bytes"

// MiB is the most that lay on the heap at once during a run, more than before it, looked at each
// millisecond. It counts garbage that was not collected yet, as the memory of a process does, and
// neither stacks nor what the runtime keeps for itself.
func MiB(run func()) float64 {
	runtime.GC()
	before := read()
	stop, most := make(chan struct{}), make(chan uint64)
	go func() {
		now := time.NewTicker(time.Millisecond)
		defer now.Stop()
		high := before
		for {
			select {
			case <-now.C:
				high = max(high, read())
			case <-stop:
				most <- max(high, read())
				return
			}
		}
	}()
	run()
	close(stop)
	return float64(<-most-before) / (1 << 20)
}

func read() uint64 {
	sample := []metrics.Sample{{Name: heap}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
