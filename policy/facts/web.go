package facts

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Web asks the addresses of health gates. Whoever writes the policy chooses them, so a controller
// could be made to knock at doors that he cannot reach: it only ever says GET, shows nobody's
// credentials, follows no redirect, reads no body, and tells of the answer its status alone.
type Web struct {
	Hosts []string // that may be asked, as HOST or HOST:PORT; none is all
}

var doorbell = &http.Client{
	Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, DisableCompression: true,
		TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (w *Web) get(ctx context.Context, address string) (healthy bool, why string) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil:
		return false, "its address is not http or https"
	case len(w.Hosts) > 0 && !slices.Contains(w.Hosts, u.Host) && !slices.Contains(w.Hosts, u.Hostname()):
		return false, fmt.Sprintf("%s is none of the hosts that this controller may ask (sluice run --probe-hosts)", u.Host)
	}
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return false, "its address cannot be asked"
	}
	ask.Header.Set("User-Agent", "sluice")
	answer, err := doorbell.Do(ask)
	switch {
	case ctx.Err() != nil:
		return false, u.Host + " did not answer in time"
	case err != nil:
		return false, u.Host + " does not answer"
	}
	answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return false, fmt.Sprintf("%s answers %d", u.Host, answer.StatusCode)
	}
	return true, ""
}
