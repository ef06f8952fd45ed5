package facts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Prometheus is asked for alerts and values. Every answer but a plain yes closes the gate.
type Prometheus struct{ api v1.API }

// most is how large an answer may be. A larger one is cut, and does not decode.
const most = 4 << 20

// OpenPrometheus is the Prometheus at an address; nothing is asked yet.
func OpenPrometheus(address string) (*Prometheus, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("read the address of Prometheus: it is no http or https address")
	case u.User != nil:
		return nil, errors.New("read the address of Prometheus: it holds credentials, which are not kept")
	}
	client, err := api.NewClient(api.Config{Address: address, RoundTripper: bounded{http.DefaultTransport}})
	if err != nil {
		return nil, fmt.Errorf("read the address of Prometheus: %w", err)
	}
	return &Prometheus{v1.NewAPI(client)}, nil
}

// bounded cuts answers.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err == nil {
		answer.Body = cut{io.LimitReader(answer.Body, most), answer.Body}
	}
	return answer, err
}

type cut struct {
	io.Reader
	io.Closer
}

// query is one answer in samples; why is set when there is none to trust.
func (p *Prometheus) query(ctx context.Context, text string, now time.Time) (samples model.Vector, why string) {
	value, warnings, _, err := p.api.Query(ctx, text, now)
	var refused *v1.Error
	switch {
	case ctx.Err() != nil:
		return nil, "Prometheus did not answer in time"
	case errors.As(err, &refused) && refused.Type == v1.ErrBadData:
		return nil, "Prometheus does not take the query: " + clip(refused.Msg)
	case err != nil:
		return nil, "Prometheus does not answer"
	case len(warnings) > 0: // a part of the stores may be missing
		return nil, "Prometheus warns: " + clip(warnings[0])
	}
	switch value := value.(type) {
	case model.Vector:
		return value, ""
	case *model.Scalar:
		return model.Vector{{Value: value.Value}}, ""
	}
	return nil, fmt.Sprintf("the query gives a %s, and must give one value or a vector", value.Type())
}

// quiet says whether no alert is firing whose name matches.
func (p *Prometheus) quiet(ctx context.Context, names string, now time.Time) (healthy bool, why string) {
	pattern, err := regexp.Compile(names)
	if err != nil {
		return false, "its expression cannot be read"
	}
	firing, why := p.query(ctx, `ALERTS{alertstate="firing"}`, now)
	if why != "" {
		return false, why
	}
	var found []string
	for _, s := range firing {
		if name := string(s.Metric[model.AlertNameLabel]); pattern.MatchString(name) {
			found = append(found, clip(name))
		}
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) == 0 {
		return true, ""
	}
	more := ""
	if len(found) > 3 {
		more = fmt.Sprintf(" and %d more", len(found)-3)
	}
	return false, "firing: " + strings.Join(found[:min(3, len(found))], ", ") + more
}

// holds says whether a query gives samples, and none that is 0 or no number.
func (p *Prometheus) holds(ctx context.Context, text string, now time.Time) (healthy bool, why string) {
	samples, why := p.query(ctx, text, now)
	switch {
	case why != "":
		return false, why
	case len(samples) == 0:
		return false, "the query gives no sample"
	}
	for _, s := range samples {
		if s.Value == 0 || math.IsNaN(float64(s.Value)) {
			return false, fmt.Sprintf("the query gives %v for %s", s.Value, clip(s.Metric.String()))
		}
	}
	return true, ""
}

// clip makes a stranger's words one short line.
func clip(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 120 {
		return string(runes[:119]) + "…"
	}
	return text
}
