package clock_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/sluice-gitops/sluice/api/clock"
)

// server answers with a time that is so far ahead of this machine's.
type server struct{ ahead time.Duration }

func (s *server) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{Header: http.Header{"Date": {time.Now().Add(s.ahead).UTC().Format(http.TimeFormat)}}, Body: http.NoBody}, nil
}

// What has begun must not end before it began because two answers cut their seconds differently.
func TestAnswersThatDifferByWhatTheyCannotTellMoveNothing(t *testing.T) {
	far, served := &server{}, &clock.Clock{}
	ask := served.Listen(far)
	for _, row := range []struct {
		name  string
		ahead time.Duration // of the answer
		now   time.Duration // what is believed then
	}{
		{"the first is believed", time.Hour, time.Hour},
		{"one a little later moves nothing", time.Hour + 1500*time.Millisecond, time.Hour},
		{"nor one a little earlier", time.Hour - 1500*time.Millisecond, time.Hour},
		{"one of another time is believed", -time.Minute, -time.Minute},
	} {
		far.ahead = row.ahead
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://server.invalid", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := ask.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if off := time.Until(served.Now()) - row.now; off.Abs() > 800*time.Millisecond {
			t.Errorf("%s: it is off by %s", row.name, off)
		}
	}
}
