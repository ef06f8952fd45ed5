package kube

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// later is a server whose clock is days before this machine's. It keeps nothing, and takes what it is given.
type later struct{}

const days = 100 * 24 * time.Hour

func (later) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &http.Response{
		StatusCode: http.StatusNotFound, Request: r, Body: http.NoBody,
		Header: http.Header{"Date": {time.Now().Add(days).UTC().Format(http.TimeFormat)}},
	}
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		answer.StatusCode, answer.Body = http.StatusCreated, io.NopCloser(bytes.NewReader(body))
		answer.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	}
	return answer, nil
}

func served(t *testing.T) *Client {
	return connect(t, &rest.Config{Host: "http://server.invalid", Transport: later{}})
}

// Agents would refuse a certificate that is not good yet, and replicas whose clocks differ would make it
// anew for ever.
func TestTheCertificateIsMadeByTheServersClock(t *testing.T) {
	c := &Certificate{Client: served(t), Namespace: "sluice-system", Log: slog.New(slog.DiscardHandler)}
	if err := c.Check(t.Context(), c.Client.Clock.Now); err != nil {
		t.Fatal(err)
	}
	is, err := c.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Until(is.Leaf.NotBefore) - days; off.Abs() > 2*early {
		t.Errorf("it is good from %s on", is.Leaf.NotBefore)
	}
}

type lock struct {
	resourcelock.Interface
	renewed time.Time
}

func (l *lock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	l.renewed = r.RenewTime.Time
	return nil
}

// By it `kubectl sluice why` says whether a controller runs.
func TestALeaseIsRenewedByTheServersClock(t *testing.T) {
	client := served(t)
	if _, err := client.fleets.Get(t.Context(), "f", metav1.GetOptions{}); err == nil {
		t.Fatal("there is a Fleet")
	}
	l := &lock{}
	lease := &Lease{Client: client, Identity: "a"}
	if err := (watched{l, lease}).Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "a"}); err != nil {
		t.Fatal(err)
	}
	if off := time.Until(l.renewed) - days; off.Abs() > time.Hour {
		t.Errorf("it is renewed as of %s", l.renewed)
	}
	if !lease.Fresh() {
		t.Error("its holder takes it for run out")
	}
}
