package contract_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/source/forge/loopback/contract"
)

// heard collects what a check complains of, in the place of a test.
type heard struct {
	testing.TB
	words []string
}

func (h *heard) Errorf(format string, args ...any) {
	h.words = append(h.words, fmt.Sprintf(format, args...))
}
func (h *heard) Helper() {}

func TestCheck(t *testing.T) {
	const good = `{"url":"u","avatar_url":null,"id":1,"node_id":"n","state":"success","description":null,"target_url":null,
		"context":"c","created_at":"t","updated_at":"t","creator":null}`
	const post = "/repos/acme/fleet/statuses/c0ffee"
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		answer, want             string // want "" is no complaint
	}{
		{"a status as GitHub takes and shows it", "POST", post, `{"state":"success"}`, 201, good, ""},
		{"a refusal that the description leaves out", "POST", post, `{"state":"success"}`, 403, `{"message":"no"}`, ""},
		{"a state that GitHub has not", "POST", post, `{"state":"superseded"}`, 201, good, "state"},
		{"no state", "POST", post, `{}`, 201, good, "state"},
		{"no body", "POST", post, ``, 201, good, "body"},
		{"a path that GitHub has not", "POST", "/repos/acme/fleet/status/c0ffee", `{"state":"success"}`, 201, good, "no matching operation"},
		{"an answer without a field", "POST", post, `{"state":"success"}`, 201, `{"id":1}`, "node_id"},
		{"an answer of the wrong type", "POST", post, `{"state":"success"}`, 201, strings.Replace(good, `"id":1`, `"id":"1"`, 1), "integer"},
		{"a success that GitHub has not", "POST", post, `{"state":"success"}`, 200, good, "no answer"},
		{"a refusal that looks otherwise", "POST", post, `{"state":"success"}`, 403, `{"message":["no"]}`, "message"},
		{"a list that is an object", "GET", "/repos/acme/fleet/pulls?state=open", "", 200, `{}`, "array"},
		{"a filter that GitHub has not", "GET", "/repos/acme/fleet/pulls?state=ajar", "", 200, `[]`, "state"},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := ""
			next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				seen = string(body)
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.answer)
			})
			ear := &heard{}
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			contract.Check(ear)(next).ServeHTTP(w, r)
			if got := strings.Join(ear.words, "\n"); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("heard %q, want a word of %q", got, c.want)
			}
			if w.Code != c.status || w.Body.String() != c.answer || seen != c.body {
				t.Errorf("the wrapper changed what passes: %d %q, handler saw %q", w.Code, w.Body, seen)
			}
		})
	}
}
