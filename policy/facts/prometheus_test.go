package facts

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/policy"
)

// prometheus speaks Prometheus' own API: each query has the answer that stands here.
func prometheus(t *testing.T, answers map[string]string) *Prometheus {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.FormValue("query")]
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path != "/api/v1/query" || r.FormValue("time") == "":
			http.NotFound(w, r)
		case !ok:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"1:5: parse error: unexpected end of input"}`)
		default:
			fmt.Fprint(w, answer)
		}
	}))
	t.Cleanup(s.Close)
	p, err := OpenPrometheus(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func vector(samples ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(samples, ",") + `]}}`
}

func sample(name, value string) string {
	return `{"metric":{"__name__":"ALERTS","alertname":"` + name + `","alertstate":"firing"},"value":[1790000000.1,"` + value + `"]}`
}

func TestPrometheusClosesEveryGateThatItDoesNotOpen(t *testing.T) {
	const firing = `ALERTS{alertstate="firing"}`
	down := httptest.NewServer(nil)
	down.Close()
	gone, err := OpenPrometheus(down.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		answers map[string]string
		gate    policy.HealthGate
		why     string // "" is healthy
	}{
		{"no alert is firing", map[string]string{firing: vector()}, policy.HealthGate{Alerts: "."}, ""},
		{"another alert is firing", map[string]string{firing: vector(sample("Watchdog", "1"))}, policy.HealthGate{Alerts: "^Etcd"}, ""},
		{"an alert whose name matches", map[string]string{firing: vector(sample("Watchdog", "1"), sample("EtcdDown", "1"), sample("EtcdDown", "1"))}, policy.HealthGate{Alerts: "^Etcd"}, "firing: EtcdDown"},
		{"a part of a name is a match", map[string]string{firing: vector(sample("KubeEtcdDown", "1"))}, policy.HealthGate{Alerts: "Etcd"}, "firing: KubeEtcdDown"},
		{"alerts by the dozen", map[string]string{firing: vector(sample("A1", "1"), sample("A2", "1"), sample("A3", "1"), sample("A4", "1"))}, policy.HealthGate{Alerts: "A"}, "A1, A2, A3 and 1 more"},
		{"alerts that cannot be asked for", nil, policy.HealthGate{Alerts: "."}, "does not take the query"},

		{"a value", map[string]string{"q": vector(sample("x", "1"))}, policy.HealthGate{Query: "q"}, ""},
		{"a scalar", map[string]string{"q": `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`}, policy.HealthGate{Query: "q"}, ""},
		{"one value of several is 0", map[string]string{"q": vector(sample("x", "1"), sample("y", "0"))}, policy.HealthGate{Query: "q"}, `the query gives 0 for ALERTS{alertname="y"`},
		{"no number", map[string]string{"q": vector(sample("x", "NaN"))}, policy.HealthGate{Query: "q"}, "NaN"},
		{"a scalar of 0", map[string]string{"q": `{"status":"success","data":{"resultType":"scalar","result":[1,"0"]}}`}, policy.HealthGate{Query: "q"}, "gives 0"},
		{"no sample: what is not measured is not well", map[string]string{"q": vector()}, policy.HealthGate{Query: "q"}, "no sample"},
		{"a range", map[string]string{"q": `{"status":"success","data":{"resultType":"matrix","result":[]}}`}, policy.HealthGate{Query: "q"}, "gives a matrix"},
		{"a query that Prometheus does not take", nil, policy.HealthGate{Query: "sum("}, "parse error"},
		{"an answer in part", map[string]string{"q": `{"status":"success","warnings":["store 2 is away"],"data":{"resultType":"vector","result":[` + sample("x", "1") + `]}}`}, policy.HealthGate{Query: "q"}, "store 2 is away"},
		{"an answer that is none", map[string]string{"q": `<html>`}, policy.HealthGate{Query: "q"}, "does not answer"},
		{"an answer without end", map[string]string{"q": vector(sample(strings.Repeat("x", most), "1"))}, policy.HealthGate{Query: "q"}, "does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := Inquiry{Prometheus: prometheus(t, c.answers), Now: time.Now}
			healthy, why := q.answer(context.Background(), c.gate)
			if healthy != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("healthy %v, %q; want %q", healthy, why, c.why)
			}
		})
	}
	for name, q := range map[string]Inquiry{
		"is configured":   {Now: time.Now},
		"does not answer": {Prometheus: gone, Now: time.Now},
	} {
		for _, g := range []policy.HealthGate{{Alerts: "."}, {Query: "up"}} {
			if healthy, why := q.answer(context.Background(), g); healthy || !strings.Contains(why, name) {
				t.Errorf("%+v: healthy %v, %q; want %q", g, healthy, why, name)
			}
		}
	}
	for _, bad := range []string{"", "prometheus:9090", "ftp://x", "http://", "http://a:b@x"} {
		if _, err := OpenPrometheus(bad); err == nil {
			t.Errorf("%q is taken for the address of Prometheus", bad)
		}
	}
}
