package kube

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/machine"
)

// Content knows which config a node may have, and reads it. It is a join.Registry: safe for use by
// many goroutines at once, on every replica, whoever holds the lease.
type Content struct {
	Client    *Client // one of Client.Crowd
	Namespace string  // of the configs, and of the agents' account

	mu      sync.Mutex
	callers map[[sha256.Size]byte]caller // by the hash of their token
}

const (
	audience  = "sluice-content" // of the tokens that agents show
	agents    = "sluice-agent"   // their account
	believed  = time.Minute      // a token whose pod is gone dies within it
	mostKnown = 5000             // tokens that are remembered at once
)

// caller is the node of a token that was good.
type caller struct {
	node  string
	uid   types.UID
	until time.Time
}

// Crowd is a client of the same cluster for answering many at once: it has no limit of its own, so
// that whoever uses it bounds how many ask, and it gives up soon. It takes nothing from the limit of
// the loop.
func (c *Client) Crowd() (*Client, error) {
	config := rest.CopyConfig(c.config)
	config.QPS, config.Timeout = -1, 8*time.Second
	return Connect(config)
}

// Ordered is the node of an agent's token, and the digest of the config that its order names. The
// token must be in force, for our audience, of the agents' account and bound to a pod on a node; else
// there is no node. A NodeConfig of an earlier node of that name orders nothing.
func (c *Content) Ordered(ctx context.Context, token string) (string, machine.Digest, error) {
	who, err := c.whose(ctx, token)
	if err != nil || who.node == "" {
		return "", "", err
	}
	home, err := c.Client.configs.Get(ctx, who.node, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return who.node, "", nil
	}
	if err != nil {
		return who.node, "", fmt.Errorf("read NodeConfig %s: %w", who.node, err)
	}
	if !slices.ContainsFunc(home.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == who.uid }) {
		return who.node, "", nil
	}
	return who.node, machine.Digest(home.Spec.Config), nil
}

// whose is the node of a token; the zero caller: it is not good. What was refused is asked anew.
func (c *Content) whose(ctx context.Context, token string) (caller, error) {
	account := "system:serviceaccount:" + c.Namespace + ":" + agents
	if !claims(token, account) {
		return caller{}, nil
	}
	now, hash := time.Now(), sha256.Sum256([]byte(token))
	c.mu.Lock()
	who, ok := c.callers[hash]
	c.mu.Unlock()
	if ok && now.Before(who.until) {
		return who, nil
	}
	review := &authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: token, Audiences: []string{audience}}}
	review, err := c.Client.core.AuthenticationV1().TokenReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return caller{}, fmt.Errorf("review a token: %w", err)
	}
	s := review.Status
	if !s.Authenticated || !slices.Contains(s.Audiences, audience) || s.User.Username != account {
		return caller{}, nil
	}
	name, uid := s.User.Extra["authentication.kubernetes.io/node-name"], s.User.Extra["authentication.kubernetes.io/node-uid"]
	if len(name) != 1 || len(uid) != 1 || name[0] == "" || uid[0] == "" {
		return caller{}, nil // bound to no pod, or to one that runs nowhere
	}
	who = caller{name[0], types.UID(uid[0]), now.Add(believed)}
	c.remember(hash, who, now)
	return who, nil
}

func (c *Content) remember(hash [sha256.Size]byte, who caller, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.callers, func(_ [sha256.Size]byte, k caller) bool { return now.After(k.until) || len(c.callers) >= mostKnown })
	if c.callers == nil {
		c.callers = map[[sha256.Size]byte]caller{}
	}
	c.callers[hash] = who
}

// Packed is a config as it is kept: JSON, compressed with gzip; nil: it is not there, or not whole.
func (c *Content) Packed(ctx context.Context, d machine.Digest) ([]byte, error) {
	_, packed, err := readConfig(ctx, c.Client, c.Namespace, d)
	if err != nil {
		return nil, fmt.Errorf("read config %s: %w", d.Short(), err)
	}
	return packed, nil
}
