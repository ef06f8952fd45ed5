package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-gitops/sluice/reconciler/loop"
	"github.com/sluice-gitops/sluice/reconciler/metrics"
	"github.com/sluice-gitops/sluice/source/forge/github"
)

// vitals are the signs of life of a controller, and its metrics.
type vitals struct {
	*metrics.Fleet
	now func() time.Time

	mu     sync.Mutex
	poll   time.Duration
	due    time.Time // by then a tick must have ended; zero: none is expected, as while waiting for the lease
	silent bool      // the store did not answer at the last tick

	leased   bool      // there is a lease, which the API server is asked for every few seconds by whoever holds it or waits for it
	ended    time.Time // when such a request last ended, however
	answered time.Time // when one last ended well
}

func newVitals(fleet string) *vitals { return &vitals{Fleet: metrics.New(fleet), now: time.Now} }

const (
	// slowest is how long a tick may take however often Git is asked: the first fetch of a large
	// repository is one.
	slowest = 10 * time.Minute
	// mute is how long the API server may leave the lease unanswered before nobody should be sent here
	// for a config: by then its holder has lost it.
	mute = 30 * time.Second
)

// contend says that this process asks for a lease from now on. What it returns hears of each request
// how it ended, and tells the next.
func (v *vitals) contend(next func(error)) func(error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.leased, v.ended = true, v.now()
	return func(err error) {
		v.asked(err)
		next(err)
	}
}

func (v *vitals) asked(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended = v.now(); err == nil {
		v.answered = v.ended
	}
}

// expect says that a loop begins now that asks Git this often.
func (v *vitals) expect(poll time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.poll, v.due = poll, v.now().Add(max(3*poll, slowest))
}

// lead says that this process is the controller, or is not any more.
func (v *vitals) lead(leads bool) {
	v.Lead(leads)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.due, v.silent = time.Time{}, false
}

// watch takes in a tick.
func (v *vitals) watch(k loop.Look) {
	v.Tell(k)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.silent = !k.Loaded
	v.due = v.now().Add(max(3*v.poll, slowest))
}

// hear counts what is asked of a forge; of none it counts nothing.
func (v *vitals) hear(forge loop.Forge) {
	if hub, ok := forge.(*github.Forge); ok {
		hub.Heard = v.ForgeCall
	}
}

// healthy is an error when this process should be started anew, which helps where something in it hangs.
// It helps nobody where the API server is away: a request to that ends, too, be it by its own time limit.
func (v *vitals) healthy() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if late := v.now().Sub(v.due); !v.due.IsZero() && late > 0 {
		return fmt.Errorf("no tick has ended since %s: the last was due %s ago", v.due.Add(-max(3*v.poll, slowest)).UTC().Format(time.RFC3339), late.Round(time.Second))
	}
	if late := v.now().Sub(v.ended); v.leased && late > slowest {
		return fmt.Errorf("no request for the lease has ended since %s", v.ended.UTC().Format(time.RFC3339))
	}
	return nil
}

// ready is an error while this process cannot do its work for want of the API server: no agent should
// ask it for a config, and what was rolled out in its place must wait. One that waits for the lease is
// ready.
func (v *vitals) ready() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.leased && v.answered.IsZero():
		return errors.New("the API server has not answered since the start: see the log")
	case v.leased && v.now().Sub(v.answered) > mute:
		return fmt.Errorf("the API server has not answered since %s: see the log", v.answered.UTC().Format(time.RFC3339))
	case v.silent:
		return errors.New("the state of the fleet could not be read at the last tick: see the log")
	}
	return nil
}

func metricsFlag(f *pflag.FlagSet, addr *string) {
	f.StringVar(addr, "metrics-listen", "", "the `ADDRESS` that serves /metrics, /healthz and /readyz over plain HTTP; \"\" serves none (default, in a pod: \":8080\")")
}

// metricsAddress is where a controller on Kubernetes serves metrics.
func metricsAddress(f *pflag.FlagSet, addr string) string {
	if f.Changed("metrics-listen") || f.Changed("kubeconfig") {
		return addr
	}
	return ":8080"
}

// serve has the fleet's controller watched.
func (f *localFleet) serve(ctx context.Context) (stop func(), err error) {
	v := newVitals(f.set.Name)
	v.lead(true)
	v.expect(f.set.Poll)
	v.hear(f.loop.Forge)
	f.loop.Watch = v.watch
	return v.serve(ctx, f.set.metricsListen, f.log)
}

func (v *vitals) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", v.Handler(version))
	for path, check := range map[string]func() error{"GET /healthz": v.healthy, "GET /readyz": v.ready} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if err := check(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, "ok\n")
		})
	}
	return mux
}

// serve answers on an address until the function that it returns is called; "" serves nobody.
func (v *vitals) serve(ctx context.Context, addr string, log *slog.Logger) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--metrics-listen: %w", err)
	}
	server := &http.Server{
		Handler: v.handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are not served any more", "error", err)
		}
	}()
	log.Info("serving metrics", "address", l.Addr())
	return func() { _ = server.Close() }, nil
}
