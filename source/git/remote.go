package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// remote is the repository that is followed, wherever it is.
type remote interface {
	// refs asks once for every ref: full name -> hash.
	refs(context.Context) (map[string]plumbing.Hash, error)
	// pack writes one pack, whole in itself, of what leads to wants and is not reachable from
	// haves. Haves that the remote does not know are passed over.
	pack(ctx context.Context, wants, haves []plumbing.Hash, to io.Writer) error
}

// maxRefs is how many bytes of refs are taken: about 200,000 refs.
const maxRefs = 16 << 20

// overLimit is a refusal by Limits: to ask again will not help.
type overLimit string

func (o overLimit) Error() string { return string(o) }

// httpRemote speaks Git's smart HTTP protocol, with one request per call.
type httpRemote struct {
	url    string
	auth   githttp.AuthMethod
	client transport.Transport
}

func newHTTPRemote(u *url.URL, auth githttp.AuthMethod, rt http.RoundTripper, l Limits) *httpRemote {
	if rt == nil {
		rt = http.DefaultTransport
	}
	c := &http.Client{Transport: &guard{next: rt, pack: l.Pack}, CheckRedirect: sameHost}
	// Only the first request may be redirected: go-git then keeps to where it was led.
	opts := &githttp.ClientOptions{RedirectPolicy: githttp.FollowInitialRedirects}
	return &httpRemote{url: u.String(), auth: auth, client: githttp.NewClientWithOptions(c, opts)}
}

func (r *httpRemote) refs(ctx context.Context) (map[string]plumbing.Hash, error) {
	_, adv, err := r.session(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return adv.References, nil
}

func (r *httpRemote) session(ctx context.Context) (transport.UploadPackSession, *packp.AdvRefs, error) {
	ep, err := transport.NewEndpoint(r.url)
	if err != nil {
		return nil, nil, err
	}
	var auth transport.AuthMethod // a nil githttp.AuthMethod in it would not be nil
	if r.auth != nil {
		auth = r.auth
	}
	sess, err := r.client.NewUploadPackSession(ep, auth)
	if err != nil {
		return nil, nil, err
	}
	adv, err := sess.AdvertisedReferencesContext(ctx)
	return sess, adv, explain(err)
}

func (r *httpRemote) pack(ctx context.Context, wants, haves []plumbing.Hash, to io.Writer) error {
	sess, adv, err := r.session(ctx)
	if err != nil {
		return err
	}
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	req.Wants, req.Haves = wants, haves
	if adv.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return err
		}
	}
	res, err := sess.UploadPack(ctx, req)
	if err != nil {
		return explain(err)
	}
	defer res.Close()
	_, err = io.Copy(to, demux(req.Capabilities, res))
	return explain(err)
}

func demux(caps *capability.List, r io.Reader) io.Reader {
	switch {
	case caps.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case caps.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// explain adds the next step to the answers that a user can do something about.
func explain(err error) error {
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return fmt.Errorf("the remote asks for other credentials (401); set or renew the username and password, or the token: %w", transport.ErrAuthenticationRequired)
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return fmt.Errorf("the credentials may not read the repository (403): %w", transport.ErrAuthorizationFailed)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("no such repository, or the credentials may not see it (404); check the url and the token: %w", transport.ErrRepositoryNotFound)
	case errors.Is(err, pktline.ErrInvalidPktLen), err != nil && strings.HasPrefix(err.Error(), "pkt-line"):
		return errors.New("the answer is not that of a Git repository; check the url")
	}
	return err
}

// guard caps what an answer may hold, and drops the bodies of refusals: their words are the
// server's, and may repeat our credentials.
type guard struct {
	next http.RoundTripper
	pack int64
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		res.Body.Close()
		res.Body = http.NoBody
		return res, nil
	}
	limit := int64(maxRefs)
	if req.Method == http.MethodPost {
		limit = g.pack + g.pack/64 + 1<<20 // the framing of the pack is not of the pack
	}
	res.Body = &capped{ReadCloser: res.Body, left: limit, limit: limit}
	return res, nil
}

type capped struct {
	io.ReadCloser
	left, limit int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, overLimit(fmt.Sprintf("the remote sends more than %d bytes", c.limit))
	}
	return n, err
}
