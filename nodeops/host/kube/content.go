package kube

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/machine"
)

// ServerName is what a controller's certificate is for, whatever address is dialled.
const ServerName = "content.sluice.dev"

// Content is where configs come from: controllers that serve URL/configs/DIGEST. The files are read
// anew for each config: tokens and authorities are renewed while the agent runs.
type Content struct {
	URLs  []string      // https://HOST:PORT, asked in turn
	CA    string        // file: the authorities that may sign for ServerName, PEM
	Token string        // file: what this node is known by
	Quiet time.Duration // how long an address may say nothing; zero is ten seconds
}

const (
	maxConfig = machine.MaxEncoded + 1<<20 // bytes, unpacked: what is kept may be written a little longer
	maxFetch  = 3 * time.Minute            // for one address, however busy it is
	rounds    = 3                          // in which all are asked, where one says when to ask again
	maxAgain  = 30 * time.Second
)

// Fetch asks each address for a config until one gives it. Where none does and one has said when to
// ask again, all are asked again then: the next look may be a minute away. Where every address answers
// with something else than what was asked for, that is what is returned, for its digest to be judged.
func (c Content) Fetch(ctx context.Context, d machine.Digest) (machine.Config, error) {
	for left := rounds - 1; ; left-- {
		var later busy
		got, err := c.round(ctx, d)
		if !errors.As(err, &later) || left == 0 {
			return got, err
		}
		select {
		case <-ctx.Done():
			return machine.Config{}, ctx.Err()
		case <-time.After(later.wait + rand.N(later.wait)): // others were told the same
		}
	}
}

// round asks each address once.
func (c Content) round(ctx context.Context, d machine.Digest) (machine.Config, error) {
	client, token, err := c.client()
	if err != nil {
		return machine.Config{}, err
	}
	defer client.CloseIdleConnections()
	var foreign machine.Config
	var errs []error
	wrong := 0
	for _, url := range c.URLs {
		got, err := c.ask(ctx, client, url, token, d)
		switch {
		case ctx.Err() != nil:
			return machine.Config{}, ctx.Err()
		case err == nil && got.Digest() == d:
			return got, nil
		case err == nil:
			wrong++
			foreign, err = got, fmt.Errorf("what came is config %s", got.Digest().Short())
		}
		errs = append(errs, fmt.Errorf("%s: %w", url, err))
	}
	if wrong > 0 && wrong == len(c.URLs) {
		return foreign, nil
	}
	return machine.Config{}, errors.Join(errs...)
}

// client trusts what the file says now, and nobody else. It follows no redirect and asks no proxy:
// the token is for the controllers alone.
func (c Content) client() (*http.Client, string, error) {
	token, err := os.ReadFile(c.Token)
	if err != nil {
		return nil, "", fmt.Errorf("read the node's token: %w", err)
	}
	bundle, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, "", fmt.Errorf("read the controllers' authority, which comes once a controller has run: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, "", fmt.Errorf("%s: holds no certificate", c.CA)
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: c.quiet()}).DialContext,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: ServerName},
			TLSHandshakeTimeout:   c.quiet(),
			ResponseHeaderTimeout: c.quiet(),
			DisableCompression:    true, // it is asked for below, and the unpacked size is bounded
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, strings.TrimSpace(string(token)), nil
}

func (c Content) quiet() time.Duration {
	if c.Quiet > 0 {
		return c.Quiet
	}
	return 10 * time.Second
}

// ask asks one address.
func (c Content) ask(ctx context.Context, client *http.Client, url, token string, d machine.Digest) (got machine.Config, err error) {
	ctx, done := context.WithTimeout(ctx, maxFetch)
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/configs/"+string(d), nil)
	if err != nil {
		return got, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept-Encoding", "gzip")
	answer, err := client.Do(request)
	if err != nil {
		return got, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return got, refusal(answer.StatusCode, answer.Header.Get("Retry-After"))
	}
	silence := time.AfterFunc(c.quiet(), func() { cancel(fmt.Errorf("nothing came for %s", c.quiet())) })
	defer silence.Stop() // a body that stands still is given up, too
	body, err := gzip.NewReader(ticking{answer.Body, func() { silence.Reset(c.quiet()) }})
	if err == nil {
		got, err = decode(body, maxConfig)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return machine.Config{}, fmt.Errorf("read: %w", err)
	}
	return got, nil
}

// decode reads one config, and the whole of what came.
func decode(body io.Reader, most int64) (got machine.Config, err error) {
	all := &io.LimitedReader{R: body, N: most + 1}
	err = json.NewDecoder(all).Decode(&got)
	if err == nil {
		_, err = io.Copy(io.Discard, all) // the end holds a checksum
	}
	if all.N == 0 {
		err = fmt.Errorf("it is larger than %d bytes, and an agent has no memory for more", most)
	}
	return got, err
}

// busy is a refusal for now.
type busy struct {
	error
	wait time.Duration // before the next attempt; more than none
}

// refusal says what an answer means here. After is the seconds that it asks to be left alone.
func refusal(code int, after string) error {
	if seconds, err := strconv.Atoi(after); code == http.StatusServiceUnavailable && err == nil && seconds > 0 {
		return busy{refusal(code, ""), min(time.Duration(seconds)*time.Second, maxAgain)}
	}
	switch code {
	case http.StatusUnauthorized:
		return errors.New("401: the token of this agent's pod is not accepted")
	case http.StatusForbidden:
		return errors.New("403: the config is not this node's")
	case http.StatusNotFound:
		return errors.New("404: the config is not kept there")
	case http.StatusServiceUnavailable:
		return errors.New("503: the controller cannot ask the API server who this is")
	}
	return fmt.Errorf("it answers with %d", code)
}

// ticking says whenever something was read.
type ticking struct {
	io.Reader
	tick func()
}

// Read reads on.
func (t ticking) Read(p []byte) (n int, err error) {
	n, err = t.Reader.Read(p)
	if n > 0 {
		t.tick()
	}
	return n, err
}

// node is the UID of the node that the token's pod runs on; "" where it is not known.
func (c Content) node() types.UID {
	token, err := os.ReadFile(c.Token)
	if err != nil {
		return ""
	}
	return nodeOf(strings.TrimSpace(string(token)))
}
