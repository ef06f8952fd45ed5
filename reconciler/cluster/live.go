package cluster

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"

	"github.com/sluice-gitops/sluice/reconciler/blockers"
)

// Read is a live cluster at that time. It lists, page by page, and does nothing else.
func Read(ctx context.Context, client kubernetes.Interface, at time.Time) (*blockers.Snapshot, error) {
	var c Collector
	for _, kind := range []struct {
		name string
		list pager.ListPageFunc
	}{
		{"nodes", page(client.CoreV1().Nodes().List)},
		{"pods", page(client.CoreV1().Pods("").List)},
		{"services", page(client.CoreV1().Services("").List)},
		{"persistentvolumes", page(client.CoreV1().PersistentVolumes().List)},
		{"persistentvolumeclaims", page(client.CoreV1().PersistentVolumeClaims("").List)},
		{"poddisruptionbudgets", page(client.PolicyV1().PodDisruptionBudgets("").List)},
		{"endpointslices", page(client.DiscoveryV1().EndpointSlices("").List)},
		{"replicasets", page(client.AppsV1().ReplicaSets("").List)},
		{"deployments", page(client.AppsV1().Deployments("").List)},
		{"statefulsets", page(client.AppsV1().StatefulSets("").List)},
		{"daemonsets", page(client.AppsV1().DaemonSets("").List)},
	} {
		err := pager.New(kind.list).EachListItem(ctx, metav1.ListOptions{}, func(o runtime.Object) error {
			c.Add(o)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", kind.name, err)
		}
	}
	return c.Snapshot(at)
}

// page is a typed list as a pager asks for it.
func page[L runtime.Object](list func(context.Context, metav1.ListOptions) (L, error)) pager.ListPageFunc {
	return func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) { return list(ctx, opts) }
}
