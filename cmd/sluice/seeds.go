package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"
)

// eachSeed lives n worlds, on as many cores as there are, and hears of them in the order of their
// seeds: what is heard is the same on any machine. It returns when no world is being lived any more.
func eachSeed[T any](ctx context.Context, n uint64, live func(uint64) T, hear func(uint64, T)) error {
	type world struct {
		seed uint64
		done chan T
	}
	var workers sync.WaitGroup
	defer workers.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cores := runtime.GOMAXPROCS(0)
	todo, heard := make(chan world), make(chan world, 4*cores) // a slow world holds only so many others in memory
	for range cores {
		workers.Go(func() {
			for w := range todo {
				w.done <- live(w.seed)
			}
		})
	}
	workers.Go(func() {
		defer close(heard)
		defer close(todo)
		for seed := range n {
			w := world{seed, make(chan T, 1)}
			select {
			case heard <- w:
			case <-ctx.Done():
				return
			}
			select {
			case todo <- w:
			case <-ctx.Done():
				return
			}
		}
	})
	for w := range heard {
		select {
		case answer := <-w.done:
			hear(w.seed, answer)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// progress is a line on a terminal that says how far something is; elsewhere it says nothing.
type progress struct {
	w     io.Writer // nil is no terminal
	start time.Time
	last  time.Time
}

func newProgress(w io.Writer) *progress {
	p := &progress{start: time.Now()}
	p.last = p.start
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.w = w
		}
	}
	return p
}

// at says how many are done, once a second.
func (p *progress) at(done, all uint64, more string) {
	now := time.Now()
	if p.w == nil || done == 0 || now.Sub(p.last) < time.Second {
		return
	}
	p.last = now
	left := time.Duration(float64(now.Sub(p.start)) / float64(done) * float64(all-done))
	fmt.Fprintf(p.w, "\r\x1b[K%d of %d seeds, %s, about %s to go", done, all, more, left.Round(time.Second))
}

// over takes the line away.
func (p *progress) over() {
	if p.w != nil && p.last != p.start {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
