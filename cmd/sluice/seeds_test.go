package main

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
)

// TestWorldsAreHeardInTheOrderOfTheirSeeds lives the first worlds longest.
func TestWorldsAreHeardInTheOrderOfTheirSeeds(t *testing.T) {
	later := make(chan struct{})
	live := func(seed uint64) uint64 {
		switch {
		case seed == 0 && runtime.GOMAXPROCS(0) > 1:
			<-later // the others overtake it
		case seed == 1:
			close(later)
		}
		return seed * seed
	}
	var heard []uint64
	if err := eachSeed(t.Context(), 40, live, func(seed, answer uint64) {
		if answer != seed*seed {
			t.Errorf("world %d answers %d", seed, answer)
		}
		heard = append(heard, seed)
	}); err != nil {
		t.Fatal(err)
	}
	if len(heard) != 40 || !slices.IsSorted(heard) {
		t.Errorf("heard %v", heard)
	}
}

func TestNoWorldIsBegunAfterAnInterrupt(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	heard := 0
	err := eachSeed(ctx, 1<<40, func(seed uint64) uint64 { return seed }, func(_, _ uint64) {
		if heard++; heard == 10 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) || heard > 10+8*runtime.GOMAXPROCS(0) {
		t.Errorf("%d worlds were heard of: %v", heard, err)
	}
}
