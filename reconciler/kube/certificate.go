package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Certificate is what configs are served with. Every replica keeps it: the Secret that all of them
// share is made, renewed and mended by whoever comes first. Nobody has to hold the lease for it,
// and no window, hold or pause concerns it.
type Certificate struct {
	Client    *Client
	Namespace string
	Log       *slog.Logger

	current atomic.Pointer[tls.Certificate]
}

const (
	contentTLS = "sluice-content-tls" // the Secret: authority, certificate, and their keys
	contentCA  = "sluice-content-ca"  // the ConfigMap: whom agents trust
	recheck    = time.Minute
)

// Get is the certificate of now, for a tls.Config.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if now := c.current.Load(); now != nil {
		return now, nil
	}
	return nil, errors.New("there is no certificate yet")
}

// Keep looks after the certificate until the context ends: it sees within a minute what another
// replica has changed, or what somebody has damaged. While the cluster does not answer the
// certificate that was read last is served.
func (c *Certificate) Keep(ctx context.Context) {
	said := ""
	for {
		err := c.Check(ctx, c.Client.Clock.Now)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			c.Log.Warn("the certificate of the configs cannot be looked after", "error", err)
		}
		wait := recheck
		if c.current.Load() == nil {
			wait = recheck / 20
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Check brings Secret and ConfigMap to what they should be, and takes the certificate from there.
// Of several that do it at once all end up with the same.
func (c *Certificate) Check(ctx context.Context, now func() time.Time) error {
	maps := c.Client.core.CoreV1().ConfigMaps(c.Namespace)
	for range again {
		shown, err := maps.Get(ctx, contentCA, metav1.GetOptions{}) // first: what is shown is never older than what was read after it
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("read configmap %s/%s: %w", c.Namespace, contentCA, err)
		}
		none := err != nil
		data, err := c.secret(ctx, now)
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("keep secret %s/%s: %w", c.Namespace, contentTLS, err)
		}
		if err := c.take(data); err != nil {
			return err
		}
		bundle := string(data[caCerts])
		switch {
		case none:
			_, err = maps.Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: contentCA}, Data: map[string]string{caCerts: bundle},
			}, creating)
		case shown.Data[caCerts] != bundle:
			if shown.Data == nil {
				shown.Data = map[string]string{}
			}
			shown.Data[caCerts] = bundle
			_, err = maps.Update(ctx, shown, updating)
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			if err != nil {
				return fmt.Errorf("write configmap %s/%s: %w", c.Namespace, contentCA, err)
			}
			return nil
		}
	}
	return errors.New("others write the certificate, too")
}

// secret is what the Secret holds, made or mended where it must be.
func (c *Certificate) secret(ctx context.Context, now func() time.Time) (map[string][]byte, error) {
	secrets := c.Client.core.CoreV1().Secrets(c.Namespace)
	has, err := secrets.Get(ctx, contentTLS, metav1.GetOptions{})
	none := apierrors.IsNotFound(err)
	if err != nil && !none {
		return nil, err
	}
	if none {
		has = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: contentTLS}, Type: "sluice.dev/data"}
	}
	want, why, err := issue(has.Data, now()) // by then the server has said what time it is
	if err != nil || len(why) == 0 {
		return want, err
	}
	has.Data = want
	if none {
		_, err = secrets.Create(ctx, has, creating)
	} else {
		_, err = secrets.Update(ctx, has, updating)
	}
	if err == nil {
		c.Log.Info("the certificate of the configs was made anew", "why", why)
	}
	return want, err
}

// take serves with what the Secret holds from now on.
func (c *Certificate) take(data map[string][]byte) error {
	next, err := tls.X509KeyPair(data[tlsCert], data[tlsKey])
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	if now := c.current.Load(); now == nil || !bytes.Equal(now.Certificate[0], next.Certificate[0]) {
		c.current.Store(&next)
	}
	return nil
}
