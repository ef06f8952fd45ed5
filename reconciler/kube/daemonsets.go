package kube

import (
	"context"
	"sync"
	"time"

	apps "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	appsv1 "k8s.io/client-go/kubernetes/typed/apps/v1"
)

// daemonSets is a client that remembers for a while which DaemonSets there are: the drain library
// asks for the one of every pod, on every node. That one is not there is asked anew.
type daemonSets struct {
	kubernetes.Interface
	known *known
}

// known are DaemonSets, by namespace and name, and when they were seen.
type known struct {
	mu   sync.Mutex
	seen map[[2]string]sighting
}

type sighting struct {
	set *apps.DaemonSet
	at  time.Time
}

// lasting is how long a DaemonSet is taken to be there. The pods of one that is gone keep no node
// from being emptied for longer.
const lasting = 10 * time.Second

func (d daemonSets) AppsV1() appsv1.AppsV1Interface { return knownApps{d.Interface.AppsV1(), d.known} }

type knownApps struct {
	appsv1.AppsV1Interface
	known *known
}

func (a knownApps) DaemonSets(namespace string) appsv1.DaemonSetInterface {
	return knownSets{a.AppsV1Interface.DaemonSets(namespace), namespace, a.known}
}

type knownSets struct {
	appsv1.DaemonSetInterface
	namespace string
	known     *known
}

func (s knownSets) Get(ctx context.Context, name string, options metav1.GetOptions) (*apps.DaemonSet, error) {
	key, now := [2]string{s.namespace, name}, time.Now()
	s.known.mu.Lock()
	has, ok := s.known.seen[key]
	s.known.mu.Unlock()
	if ok && now.Sub(has.at) < lasting {
		return has.set, nil
	}
	set, err := s.DaemonSetInterface.Get(ctx, name, options)
	s.known.mu.Lock()
	defer s.known.mu.Unlock()
	if err != nil {
		delete(s.known.seen, key)
		return nil, err
	}
	if s.known.seen == nil {
		s.known.seen = map[[2]string]sighting{}
	}
	s.known.seen[key] = sighting{set, now}
	return set, nil
}
