package kube

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/policy"
)

// Trouble is what keeps a controller from what its Fleet asks, in words for people. The zero
// Trouble is none.
type Trouble struct {
	Reason  string // one word, upper camel case
	Message string // what is wrong, with its field, and the next step
}

func (t Trouble) Error() string { return t.Message }

// What a Trouble may be. Those for which no Fleet can be read are only logged.
const (
	NoKinds      = "NoKinds"      // the cluster does not know our kinds
	NoFleet      = "NoFleet"      // there is no Fleet of that name
	NoRights     = "NoRights"     // the account may not do what is needed
	InvalidSpec  = "InvalidSpec"  // a field of the Fleet makes no sense
	NoSecret     = "NoSecret"     // a Secret that the Fleet names is not there, lacks a key, or is of another type
	AnotherFleet = "AnotherFleet" // the cluster has an older Fleet
	ForgeRefuses = "ForgeRefuses" // the forge takes nothing from us
	Failed       = "Failed"       // anything else
)

// TroubleOf says what an error is to people; nil, and the end of a lease, are none.
func TroubleOf(err error) Trouble {
	var known Trouble
	switch {
	case err == nil, errors.Is(err, ErrDeposed), errors.Is(err, context.Canceled):
		return Trouble{}
	case errors.As(err, &known):
		return known
	case apierrors.IsUnauthorized(err):
		return Trouble{NoRights, fmt.Sprintf("%v: the API server takes the credentials no more: a pod gets new ones when it is made anew (kubectl rollout restart); a kubeconfig wants a new login", err)}
	case apierrors.IsForbidden(err):
		return Trouble{NoRights, fmt.Sprintf("%v: give the account this right; helm upgrade renews the roles of an installation, and kubectl auth can-i --list --as=ACCOUNT shows what it has", err)}
	case unknownKind(err):
		return Trouble{NoKinds, fmt.Sprintf("%v: the cluster does not know all kinds of sluice.dev: apply the definitions of this version, from the folder of its chart: kubectl apply --server-side -f crds/; where a Fleet went with them, helm upgrade or kubectl apply makes it again", err)}
	}
	return Trouble{Failed, err.Error()}
}

// unknownKind says that the server knows no such path, not that it has no such object.
func unknownKind(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.IsUnexpectedServerError(err)
}

// Asked is the Fleet of that name. Of several the oldest counts, and the others come with AnotherFleet:
// Pools and NodeConfigs belong to the whole cluster, and two controllers would pull at the same nodes.
func (c *Client) Asked(ctx context.Context, name string) (*v1alpha1.Fleet, error) {
	fleet, err := c.fleets.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !unknownKind(err) {
		return nil, Trouble{NoFleet, fmt.Sprintf("there is no Fleet %s: make one with kubectl apply -f FILE: {apiVersion: %s, kind: Fleet, metadata: {name: %[1]s}, spec: {source: {url: https://...}}}", name, v1alpha1.GroupVersion)}
	}
	if err != nil {
		return nil, fmt.Errorf("read Fleet %s: %w", name, err)
	}
	all, err := c.fleets.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Fleets: %w", err)
	}
	elder := func(f v1alpha1.Fleet) bool {
		born, mine := f.CreationTimestamp.Time, fleet.CreationTimestamp.Time
		return born.Before(mine) || born.Equal(mine) && f.Name < fleet.Name
	}
	if i := slices.IndexFunc(all.Items, elder); i >= 0 {
		return fleet, Trouble{AnotherFleet, fmt.Sprintf("Fleet %s is older, and a cluster has one: its nodes are that Fleet's. To go by this one: kubectl delete fleet %[1]s", all.Items[i].Name)}
	}
	return fleet, nil
}

// Office is the desk of the Fleet that the nodes belong to. While its Fleet is gone, or another is
// older, it cannot be read: the loop takes that as a hold of everything, finishes what is under way
// and begins nothing. It is a loop.Desk of one loop.
type Office struct {
	Desk
	Follows v1alpha1.FleetSpec // what the loop goes by, but for holds and rewind
	Read    Text               // the newest that says the same: the loop has taken it in
}

// Holds are those of the desk.
func (o *Office) Holds(ctx context.Context) ([]policy.Hold, error) {
	fleet, err := o.Client.Asked(ctx, o.Fleet)
	if err != nil {
		return nil, err
	}
	asks := fleet.Spec
	if asks.Holds, asks.Rewind = nil, ""; reflect.DeepEqual(asks, o.Follows) {
		o.Read = TextOf(fleet)
	}
	return o.holds(fleet.Spec)
}

// Secret is what the Secret holds that a field of the Fleet names. Whoever writes the Fleet chooses
// where that is sent: a Secret of a type that serves something else, as tokens of accounts and all
// that Sluice keeps do, is refused. Its errors hold no contents.
func (c *Client) Secret(ctx context.Context, namespace, name, field string) (map[string][]byte, error) {
	secret, err := c.core.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, Trouble{NoSecret, fmt.Sprintf("%s: there is no Secret %s in namespace %s: kubectl --namespace %[3]s create secret generic %[2]s --from-file=token=FILE", field, name, namespace)}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if secret.Type != corev1.SecretTypeOpaque && secret.Type != corev1.SecretTypeBasicAuth {
		return nil, Trouble{NoSecret, fmt.Sprintf("%s: Secret %s in namespace %s is of type %s, which is not sent to anybody: name one of type %s or %s: kubectl --namespace %[3]s create secret generic NAME --from-file=token=FILE",
			field, name, namespace, secret.Type, corev1.SecretTypeOpaque, corev1.SecretTypeBasicAuth)}
	}
	return secret.Data, nil
}
