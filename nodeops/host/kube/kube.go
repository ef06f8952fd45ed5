// Package kube is a node's inbox on Kubernetes: its order and its report in its own NodeConfig, and
// configs from the controllers, over TLS.
//
// The agent reads one object and writes the status of that object, nothing else. Where neither the
// API server nor a controller answers there is no news, and what was begun is finished all the same.
package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluice-gitops/sluice/api/clock"
	"github.com/sluice-gitops/sluice/api/v1alpha1"
)

// Client reaches the NodeConfigs of one cluster, and knows what time it is there.
type Client struct {
	Clock *clock.Clock

	api    rest.Interface
	params runtime.ParameterCodec
}

// patience is how long the API server may take for one answer. The agent has work to do without it,
// and asks again at its next look.
const patience = 15 * time.Second

// Open makes a client of a kubeconfig file, or of the pod's own account where none is named.
func Open(kubeconfig string, log *slog.Logger) (*Client, error) {
	var config *rest.Config
	var err error
	if kubeconfig == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	return Connect(config, log)
}

// Connect makes a client. It asks the cluster nothing yet.
func Connect(config *rest.Config, log *slog.Logger) (*Client, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	served := &clock.Clock{Log: log}
	config = rest.CopyConfig(config)
	config.UserAgent = "sluice-agent"
	config.WarningHandler = rest.NoWarnings{}
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.Wrap(served.Listen)
	api, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &Client{Clock: served, api: api, params: runtime.NewParameterCodec(scheme)}, nil
}

const resource = "nodeconfigs"

func (c *Client) get(ctx context.Context, name string) (*v1alpha1.NodeConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	home := &v1alpha1.NodeConfig{}
	return home, c.api.Get().MaxRetries(1).Resource(resource).Name(name).Do(ctx).Into(home)
}

// say writes the status, unless the object is no longer what it was when it was read.
func (c *Client) say(ctx context.Context, home *v1alpha1.NodeConfig) (*v1alpha1.NodeConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	is := &v1alpha1.NodeConfig{}
	return is, c.api.Put().MaxRetries(1).Resource(resource).Name(home.Name).SubResource("status").
		VersionedParams(&metav1.UpdateOptions{FieldManager: "sluice-agent"}, c.params).Body(home).Do(ctx).Into(is)
}

// watch tells of the object as it is now, and then of each change, for so long at most.
func (c *Client) watch(ctx context.Context, name string, long time.Duration) (watch.Interface, error) {
	seconds := int64(long.Seconds())
	options := metav1.ListOptions{FieldSelector: "metadata.name=" + name, Watch: true, TimeoutSeconds: &seconds}
	return c.api.Get().Resource(resource).VersionedParams(&options, c.params).Watch(ctx)
}
