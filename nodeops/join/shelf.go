package join

import (
	"context"
	"slices"
	"sync"

	"github.com/sluice-gitops/sluice/machine"
)

// room is how much the shelf holds, in bytes: a controller of 1,000 nodes is to need 150 MiB in all.
const room = 16 << 20

// shelf has the configs that were asked for last, as they are sent, so that a thousand nodes cost
// one reading. A config never changes, so what stands here is right for ever.
type shelf struct {
	mu      sync.Mutex
	ready   []packed // the one asked for last comes last
	reading map[machine.Digest]*reading
}

type packed struct {
	config machine.Digest
	data   []byte
}

// reading is one that is under way; its result is there once done is closed.
type reading struct {
	done chan struct{}
	data []byte
	err  error
}

// get is a config, read if it must be. Of those that ask for one at the same time the first reads,
// and goes on when it goes away: the others wait for what it finds. Nothing is learnt from an error,
// nor from a config that is not kept.
func (s *shelf) get(ctx context.Context, config machine.Digest, read func(context.Context, machine.Digest) ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	if i := slices.IndexFunc(s.ready, func(p packed) bool { return p.config == config }); i >= 0 {
		p := s.ready[i]
		s.ready = append(slices.Delete(s.ready, i, i+1), p)
		s.mu.Unlock()
		return p.data, nil
	}
	r := s.reading[config]
	if r == nil {
		r = &reading{done: make(chan struct{})}
		if s.reading == nil {
			s.reading = map[machine.Digest]*reading{}
		}
		s.reading[config] = r
		go s.read(context.WithoutCancel(ctx), config, r, read)
	}
	s.mu.Unlock()
	select {
	case <-r.done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *shelf) read(ctx context.Context, config machine.Digest, r *reading, read func(context.Context, machine.Digest) ([]byte, error)) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.data, r.err = read(ctx, config)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.reading, config)
	if r.err == nil && r.data != nil {
		s.ready = append(s.ready, packed{config, r.data})
	}
	size := 0
	for i, p := range slices.Backward(s.ready) {
		if size += len(p.data); size > room {
			s.ready = slices.Delete(s.ready, 0, i+1)
			break
		}
	}
	close(r.done)
}

// slots bound how many requests ask the Registry at once. The zero value is ready.
type slots struct {
	once sync.Once
	free chan struct{}
}

// enter waits for a slot; false: none came free in time.
func (s *slots) enter(ctx context.Context) bool {
	s.once.Do(func() { s.free = make(chan struct{}, asking) })
	select {
	case s.free <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *slots) leave() { <-s.free }
