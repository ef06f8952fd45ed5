// Package contract holds a handler to GitHub's own description of its API. For tests only.
package contract

import (
	"bytes"
	_ "embed" // the description
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// The slice of the description, its licence beside it; cut.go says how it was made.
//
//go:embed testdata/github-api.json
var description []byte

type rules struct {
	router routers.Router
	refuse *openapi3.Schema // how every error looks
}

var load = sync.OnceValues(func() (rules, error) {
	doc, err := openapi3.NewLoader().LoadFromData(description)
	if err != nil {
		return rules{}, err
	}
	doc.Servers = nil // a path is enough, at whatever address
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return rules{}, err
	}
	return rules{router, doc.Components.Schemas["basic-error"].Value}, nil
})

// Check returns a wrapper around a handler that answers like GitHub. Each request that GitHub
// would not understand, and each answer that it would not give, fails the test.
func Check(t testing.TB) func(http.Handler) http.Handler {
	t.Helper()
	rules, err := load()
	if err != nil {
		t.Fatalf("GitHub's description does not load: %v", err)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got := httptest.NewRecorder()
			if err := rules.check(got, r, next); err != nil {
				t.Errorf("%s %s breaks the contract: %v", r.Method, r.URL, err)
			}
			for key, values := range got.Header() {
				w.Header()[key] = values
			}
			w.WriteHeader(got.Code)
			_, _ = w.Write(got.Body.Bytes())
		})
	}
}

// check lets the handler answer in any case, so that a test sees what breaks first.
func (c rules) check(got *httptest.ResponseRecorder, r *http.Request, next http.Handler) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	again := func() { r.Body = io.NopCloser(bytes.NewReader(body)) }
	options := &openapi3filter.Options{
		MultiError:         true,
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}
	again()
	route, params, err := c.router.FindRoute(r)
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: options}
	if err == nil {
		err = openapi3filter.ValidateRequest(r.Context(), in)
	}
	again()
	next.ServeHTTP(got, r)
	if err != nil {
		return err
	}
	if route.Operation.Responses.Status(got.Code) == nil {
		return c.checkRefusal(got)
	}
	return openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: got.Code, Header: got.Header(), Options: options,
		Body: io.NopCloser(bytes.NewReader(got.Body.Bytes())),
	})
}

// checkRefusal looks at an answer that the description leaves out. It lists few of GitHub's
// refusals per operation, but says how all of them look.
func (c rules) checkRefusal(got *httptest.ResponseRecorder) error {
	if got.Code < 400 {
		return &openapi3filter.ResponseError{Reason: "the description has no answer " + http.StatusText(got.Code)}
	}
	if !strings.HasPrefix(got.Header().Get("Content-Type"), "application/json") {
		return nil // a proxy in front of GitHub
	}
	var value any
	if err := json.Unmarshal(got.Body.Bytes(), &value); err != nil {
		return err
	}
	return c.refuse.VisitJSON(value)
}
