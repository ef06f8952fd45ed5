package kube

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/nodeops"
)

// Inbox is one node's order and report in its NodeConfig. All of its fields but Log must be set. It
// is a loop.Inbox, whose methods one goroutine calls; Watch may run beside it.
type Inbox struct {
	Client  *Client
	Node    string
	Content Content
	Log     *slog.Logger // nil logs nothing

	mu   sync.Mutex
	home *v1alpha1.NodeConfig // as the server gave it last; nil: there is none for us, or it is not known
	none bool                 // the server said so
	said string               // why there is none, so that it is said once
	owes bool                 // the server did not answer since it was told last
	mine []string             // the last versions that were written from here

	writing sync.Mutex // held while one is: its event may come before its answer
}

// again is how often a report is tried that somebody else's write came before.
const again = 5

// Order is the order in the NodeConfig as it is now. No NodeConfig is no order, and so is one of an
// earlier node of this name: what it asks was approved for a machine that was drained then.
func (i *Inbox) Order(ctx context.Context) (nodeops.Order, error) {
	home, err := i.read(ctx)
	if err != nil {
		i.owe(true)
	}
	if err != nil || home == nil {
		return nodeops.Order{}, err
	}
	return home.Spec.Order(i.Node)
}

// Config fetches a config from the controllers.
func (i *Inbox) Config(ctx context.Context, d machine.Digest) (machine.Config, error) {
	return i.Content.Fetch(ctx, d)
}

// Tell makes the status of the NodeConfig what the node says. Nothing is asked where that is what
// the server was seen to have. Where there is no NodeConfig there is nobody to tell yet.
func (i *Inbox) Tell(ctx context.Context, r nodeops.Report) error {
	err := i.tell(ctx, bounded(r))
	i.owe(err != nil)
	return err
}

func (i *Inbox) owe(is bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.owes = is
}

func (i *Inbox) tell(ctx context.Context, r nodeops.Report) error {
	i.mu.Lock()
	home, none := i.home, i.none
	i.mu.Unlock()
	if none {
		return nil
	}
	for range again {
		if home == nil {
			var err error
			if home, err = i.read(ctx); err != nil || home == nil {
				return err
			}
		}
		want := home.DeepCopy()
		if err := want.Say(r, metav1.NewTime(i.Client.Clock.Now())); err != nil {
			return err
		}
		if reflect.DeepEqual(want.Status, home.Status) {
			return nil
		}
		err := i.write(ctx, want)
		switch {
		case err == nil:
			return nil
		case !apierrors.IsConflict(err) && !apierrors.IsNotFound(err):
			return fmt.Errorf("write the status of NodeConfig %s: %w", i.Node, err)
		}
		home = nil
	}
	return errors.New("others write its NodeConfig, too")
}

// write writes the status, and notes as which version.
func (i *Inbox) write(ctx context.Context, want *v1alpha1.NodeConfig) error {
	i.writing.Lock()
	defer i.writing.Unlock()
	is, err := i.Client.say(ctx, want)
	if err != nil {
		return err
	}
	i.learn(is, "")
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mine = append(i.mine[max(0, len(i.mine)-again):], is.ResourceVersion)
	return nil
}

// read asks for the NodeConfig. It is nil where there is none that is this node's.
func (i *Inbox) read(ctx context.Context) (*v1alpha1.NodeConfig, error) {
	home, err := i.Client.get(ctx, i.Node)
	switch {
	case apierrors.IsNotFound(err):
		i.learn(nil, "there is no NodeConfig for this node yet: the controller makes it")
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read NodeConfig %s: %w", i.Node, err)
	}
	if own := i.Content.node(); own != "" && !slices.ContainsFunc(home.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == own }) {
		i.learn(nil, "the NodeConfig is of an earlier node of this name: it is not obeyed, and the controller replaces it")
		return nil, nil
	}
	i.learn(home, "")
	return home, nil
}

// learn keeps what the server said last.
func (i *Inbox) learn(home *v1alpha1.NodeConfig, why string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.home, i.none = home, home == nil
	if why != "" && why != i.said {
		i.log().Info(why, "node", i.Node)
	}
	i.said = why
}

func (i *Inbox) log() *slog.Logger {
	if i.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return i.Log
}

const (
	watchFor = 10 * time.Minute // one watch; then the next
	breather = 5 * time.Second  // between two, and as much again by chance
	longest  = time.Minute      // instead, where nobody answers: a look asks as often
)

// pause is how long to wait after so many attempts in a row that failed: all agents of a cluster have
// lost the same server at the same time.
func pause(failed int) time.Duration {
	long := min(breather<<min(failed, 10), longest)
	return long + rand.N(long)
}

// Watch calls wake whenever the NodeConfig is not what the inbox has seen last, and when a server that
// did not answer does again, until the context ends. It may wake in vain. What it misses, and why, the
// next Order says.
func (i *Inbox) Watch(ctx context.Context, wake func()) {
	failed := 0
	for ctx.Err() == nil {
		if i.follow(ctx, wake) {
			failed = 0
		} else {
			failed++
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause(failed)):
		}
	}
}

// follow is one watch, which begins with the object as it is. It says whether there was one.
func (i *Inbox) follow(ctx context.Context, wake func()) bool {
	ctx, cancel := context.WithTimeout(ctx, watchFor+patience)
	defer cancel()
	w, err := i.Client.watch(ctx, i.Node, watchFor)
	if err != nil {
		return false
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		home, ok := event.Object.(*v1alpha1.NodeConfig)
		if !ok {
			return true
		}
		if i.news(home.ResourceVersion) {
			wake()
		}
	}
	return true
}

// news says that a version is neither the one that was seen last nor our own, or that there is
// something to catch up on.
func (i *Inbox) news(version string) bool {
	i.writing.Lock()
	defer i.writing.Unlock()
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.owes || i.home == nil || i.home.ResourceVersion != version && !slices.Contains(i.mine, version)
}

const (
	maxWhy   = 2 << 10   // bytes of one reason
	maxDrift = 128 << 10 // bytes of all drift: the server takes objects of a megabyte, and may write a byte as six
)

// bounded is a report that the server takes, whatever happened to the node: one that is refused
// would make the node silent.
func bounded(r nodeops.Report) nodeops.Report {
	r.Why = short(r.Why)
	all, size := r.Drift, 0
	r.Drift = nil
	for k, d := range all {
		d.Why = short(d.Why)
		if size += len(d.Path) + len(d.Why); size > maxDrift && k > 0 {
			r.Drift[k-1].Why += fmt.Sprintf("; and %d more", len(all)-k)
			break
		}
		r.Drift = append(r.Drift, d)
	}
	return r
}

func short(s string) string {
	if len(s) > maxWhy {
		s = s[:maxWhy] + " ..."
	}
	return strings.ToValidUTF8(s, "?")
}

// nodeOf is the UID of the node that a token's pod runs on, as the token itself says; "" where it
// does not. Nothing is permitted by it: it only tells one life of a node's name from another.
func nodeOf(token string) types.UID {
	var claims struct {
		Kubernetes struct {
			Node struct {
				UID types.UID `json:"uid"`
			} `json:"node"`
		} `json:"kubernetes.io"`
	}
	if parts := strings.Split(token, "."); len(parts) == 3 {
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			return ""
		}
	}
	return claims.Kubernetes.Node.UID
}
