// Package kube is a fleet on Kubernetes, and what its controller remembers there.
//
//	Node                      labels, conditions, and the cordon, which carries our mark
//	NodeConfig NODE           spec: its order, written here; status: its report, by its agent
//	Secret FLEET-state        what the controller remembers
//	Secret config-DIGEST-N    every config that an order may name, compressed, in pieces
//	Pool POOL                 how a pool stands, for people; read by nobody here
//	Fleet FLEET               what the operator asks: read here, but for its status
//
// Every read that is decided by is live. The server answers it with all that was written before, so
// what is seen includes every write of ours; and every write carries the version that was seen, so
// that the server refuses one of something older. A controller writes through Client.While, which sends nothing once
// the lease may be another's. What it cannot do it says on its Fleet, as a Trouble.
package kube

import (
	"context"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/sluice-gitops/sluice/api/clock"
	"github.com/sluice-gitops/sluice/api/v1alpha1"
)

// manager is how our writes are signed, field by field.
const manager = "sluice"

// fleetLabel names the fleet that an object belongs to.
const fleetLabel = "sluice.dev/fleet"

// Client reaches one cluster.
type Client struct {
	Clock  *clock.Clock        // the time of the cluster: what is written for others, and compared with what they wrote, is of it
	Waited func(time.Duration) // hears of every request that waited for the limit, how long; nil: nobody does. Set before its first use

	config  *rest.Config // as it was given
	core    kubernetes.Interface
	meta    metadata.Interface // of any object, without its contents
	fleets  *gentype.ClientWithList[*v1alpha1.Fleet, *v1alpha1.FleetList]
	pools   *gentype.ClientWithList[*v1alpha1.Pool, *v1alpha1.PoolList]
	configs *gentype.ClientWithList[*v1alpha1.NodeConfig, *v1alpha1.NodeConfigList]
}

// Connect makes a client. It asks the cluster nothing yet. Where the config sets no limits, it is
// held to 100 requests a second after a burst of 500, each of at most half a minute: a wave of fifty
// nodes that is handed back and followed by the next is one burst. Of many clients at once the server
// itself shares out its time.
func Connect(config *rest.Config) (*Client, error) { return dial(config, &clock.Clock{}) }

func dial(config *rest.Config, served *clock.Clock) (*Client, error) {
	given := config
	config = rest.CopyConfig(config)
	if config.QPS == 0 {
		config.QPS, config.Burst = 100, 500
	}
	c := &Client{Clock: served, config: given}
	config.Wrap(served.Listen)
	if config.QPS > 0 && config.RateLimiter == nil {
		config.RateLimiter = limit{flowcontrol.NewTokenBucketRateLimiter(config.QPS, config.Burst), c}
	}
	if config.Timeout == 0 {
		config.Timeout = 30 * time.Second
	}
	config.WarningHandler = rest.NoWarnings{}
	proto := rest.CopyConfig(config)
	proto.ContentType, proto.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	core, err := kubernetes.NewForConfig(proto)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if c.meta, err = metadata.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	ours, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	words := runtime.NewParameterCodec(scheme)
	c.core = core
	c.fleets = gentype.NewClientWithList("fleets", ours, words, "",
		func() *v1alpha1.Fleet { return &v1alpha1.Fleet{} }, func() *v1alpha1.FleetList { return &v1alpha1.FleetList{} })
	c.pools = gentype.NewClientWithList("pools", ours, words, "",
		func() *v1alpha1.Pool { return &v1alpha1.Pool{} }, func() *v1alpha1.PoolList { return &v1alpha1.PoolList{} })
	c.configs = gentype.NewClientWithList("nodeconfigs", ours, words, "",
		func() *v1alpha1.NodeConfig { return &v1alpha1.NodeConfig{} }, func() *v1alpha1.NodeConfigList { return &v1alpha1.NodeConfigList{} })
	return c, nil
}

// limit tells of the requests that it makes wait.
type limit struct {
	flowcontrol.RateLimiter
	client *Client
}

func (l limit) Wait(ctx context.Context) error {
	if l.TryAccept() {
		return nil
	}
	began := time.Now()
	err := l.RateLimiter.Wait(ctx)
	if l.client.Waited != nil {
		l.client.Waited(time.Since(began))
	}
	return err
}

// While is a client of the same cluster that sends no write once fresh says no: ErrDeposed. It is
// asked at the last moment before each request leaves, whatever has held that up.
func (c *Client) While(fresh func() bool) (*Client, error) {
	config := rest.CopyConfig(c.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return guard{next, fresh} })
	out, err := dial(config, c.Clock)
	if err == nil {
		out.Waited = c.Waited
	}
	return out, err
}

// Apart is a client like this one with a limit of its own: nothing that this one asks waits for it.
func (c *Client) Apart() (*Client, error) { return dial(c.config, c.Clock) }

type guard struct {
	next  http.RoundTripper
	fresh func() bool
}

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !g.fresh() {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, ErrDeposed
	}
	return g.next.RoundTrip(r)
}

// Objects reaches Kubernetes' own objects.
func (c *Client) Objects() kubernetes.Interface { return c.core }

var (
	creating = metav1.CreateOptions{FieldManager: manager}
	updating = metav1.UpdateOptions{FieldManager: manager}
	patching = metav1.PatchOptions{FieldManager: manager}
)

// again is how often a write is tried that somebody else's came before.
const again = 5
