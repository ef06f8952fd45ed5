package facts

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnAddressIsHealthyOnlyWithAPlainYes(t *testing.T) {
	var asked atomic.Value
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store("inner") }))
	defer inner.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		switch r.URL.Path {
		case "/ready":
			w.WriteHeader(http.StatusNoContent)
		case "/sick":
			http.Error(w, "the database password is hunter2", http.StatusServiceUnavailable)
		case "/away":
			http.Redirect(w, r, inner.URL, http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		}
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, c := range []struct {
		name, address string
		hosts         []string
		why           string // "" is healthy
	}{
		{"a status of the two hundreds", s.URL + "/ready", nil, ""},
		{"a host that is listed", s.URL + "/ready", []string{host}, ""},
		{"a host that is listed without its port", s.URL + "/ready", []string{"127.0.0.1"}, ""},
		{"a host that is not listed", s.URL + "/ready", []string{"status.example.com"}, "none of the hosts"},
		{"an error, whose words are nobody's business", s.URL + "/sick", nil, host + " answers 503"},
		{"a redirect is not followed", s.URL + "/away", nil, "answers 302"},
		{"no answer in time", s.URL + "/slow", nil, "did not answer in time"},
		{"nobody listens", gone.URL, nil, "does not answer"},
		{"another scheme", "file:///etc/passwd", nil, "not http or https"},
		{"credentials", "http://a:b@" + host + "/ready", nil, "not http or https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
			if strings.HasSuffix(c.address, "/slow") {
				stop()
				ctx, stop = context.WithTimeout(context.Background(), 50*time.Millisecond)
			}
			defer stop()
			healthy, why := (&Web{Hosts: c.hosts}).get(ctx, c.address)
			if healthy != (c.why == "") || !strings.Contains(why, c.why) || strings.Contains(why, "hunter2") {
				t.Errorf("healthy %v, %q; want %q", healthy, why, c.why)
			}
		})
	}
	if asked.Load() != nil {
		t.Error("the address behind the redirect was asked")
	}
}
