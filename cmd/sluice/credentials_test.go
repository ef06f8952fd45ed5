package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
	"github.com/sluice-gitops/sluice/reconciler/kube"
	"github.com/sluice-gitops/sluice/source"
	"github.com/sluice-gitops/sluice/source/git/gittest"
)

// listener is a Git server that notes the credentials that it is shown.
type listener struct {
	*gittest.Server
	repo *gittest.Repo

	mu    sync.Mutex
	shown []string
}

func listen(t *testing.T, answer func(http.ResponseWriter, *http.Request) bool) *listener {
	l := &listener{Server: gittest.New(t)}
	l.repo = l.Repo("fleet.git")
	l.repo.Commit("main", gittest.Files{"pool.yaml": "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: worker}\n"})
	l.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if has := r.Header.Get("Authorization"); !slices.Contains(l.shown, has) {
			l.shown = append(l.shown, has)
		}
		return answer != nil && answer(w, r)
	})
	return l
}

// saw holds what a server was shown since it was asked last: "" is a request without credentials, none at all is no request.
func (l *listener) saw(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.shown, want) {
		t.Errorf("the server was shown %q, want %q", l.shown, want)
	}
	l.shown = nil
}

func basic(token string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+token))
}

// Whoever may write a Fleet must not get the tokens of those who look at it: they go where their
// owner says, and nowhere from there.
func TestATokenGoesWhereItsOwnerSays(t *testing.T) {
	const mine = "aTokenOfMine"
	t.Setenv(gitToken, mine)
	theirs, named := listen(t, nil), listen(t, nil)
	elsewhere := listen(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, theirs.repo.URL+"/info/refs?service=git-upload-pack", http.StatusFound)
		return true
	})
	locked := listen(t, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	clone := named.repo.Dir
	for name, row := range map[string]struct {
		fleet *listener
		repo  string
		words []string // of the error; none: it is fetched
		check func(*testing.T)
	}{
		"not to an address that only the Fleet names": {theirs, "", nil, func(t *testing.T) { theirs.saw(t, "") }},
		"to an address that the user names": {theirs, named.repo.URL, nil, func(t *testing.T) {
			theirs.saw(t)
			named.saw(t, basic(mine))
		}},
		"nowhere where a clone is named": {theirs, clone, nil, func(t *testing.T) { theirs.saw(t); named.saw(t) }},
		"not where that address leads": {theirs, elsewhere.repo.URL, []string{"redirects to host"}, func(t *testing.T) {
			elsewhere.saw(t, basic(mine))
			theirs.saw(t)
		}},
		"a refusal says how to give it": {locked, "", []string{"asked without credentials", "--repo", gitToken}, func(t *testing.T) { locked.saw(t, "") }},
		"one with it says what it was":  {theirs, locked.repo.URL, []string{"401", "set " + gitToken}, func(t *testing.T) { locked.saw(t, basic(mine)) }},
	} {
		t.Run(name, func(t *testing.T) {
			f := &clusterFleet{at: &fleetAt{repo: row.repo}, spec: v1alpha1.FleetSpec{Source: v1alpha1.Source{URL: row.fleet.repo.URL, Branch: "main"}}}
			defer f.at.close()
			_, err := f.repository(t.Context())
			if (err == nil) != (row.words == nil) || err != nil && !all(err.Error(), row.words) {
				t.Errorf("it says %v, want %q", err, row.words)
			}
			if err != nil && strings.Contains(err.Error(), mine) {
				t.Error("it says the token")
			}
			row.check(t)
		})
	}
}

// The controller's own environment is not for whom a Fleet names, be it Git or a forge.
func TestAControllerSendsWhatSecretsHoldAlone(t *testing.T) {
	t.Setenv(gitToken, "aTokenOfThePod")
	t.Setenv(githubToken, "aTokenOfThePod")
	var shown string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, "{}")
	}))
	defer hub.Close()
	web := listen(t, nil)
	elsewhere := listen(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, web.repo.URL+"/info/refs?service=git-upload-pack", http.StatusFound)
		return true
	})
	for name, row := range map[string]struct {
		url         string
		asked       asked
		git, forge  string
		redirecting bool
	}{
		"without Secrets nothing":       {url: web.repo.URL},
		"with Secrets what they hold":   {url: web.repo.URL, asked: asked{username: "x-access-token", password: "good", forge: "hub"}, git: basic("good"), forge: "Bearer hub"},
		"nothing where another is told": {url: elsewhere.repo.URL, asked: asked{username: "x-access-token", password: "good"}, redirecting: true},
	} {
		t.Run(name, func(t *testing.T) {
			row.asked.spec = v1alpha1.FleetSpec{
				Source: v1alpha1.Source{URL: row.url}, GitHub: &v1alpha1.GitHub{Repository: "acme/fleet", URL: hub.URL},
			}
			log := slog.New(slog.DiscardHandler)
			cluster, err := kube.Connect(&rest.Config{Host: "http://cluster.invalid"})
			if err != nil {
				t.Fatal(err)
			}
			l, err := kubeFleet{Fleet: "f", vitals: newVitals("f")}.wire(cluster, row.asked, settings{}, &kube.Board{}, t.TempDir(), log)
			if err != nil {
				t.Fatal(err)
			}
			_, err = l.Source.Look(t.Context())
			if row.redirecting {
				if err == nil || !strings.Contains(err.Error(), "redirects to host") {
					t.Errorf("it follows: %v", err)
				}
				web.saw(t)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			web.saw(t, row.git)
			if err := l.Forge.Post(t.Context(), source.Status{}); err != nil {
				t.Fatal(err)
			}
			if shown != row.forge {
				t.Errorf("the forge was shown %q, want %q", shown, row.forge)
			}
		})
	}
}

// What a variable is not used for is said, once, before anything else can go wrong.
func TestAVariableThatIsNotUsedIsSaid(t *testing.T) {
	t.Setenv(gitToken, "aTokenOfThePod")
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"run", "--kubeconfig", t.TempDir() + "/none"}, &out, &errs); code == 0 {
		t.Fatal("it runs on no cluster")
	}
	if got := errs.String(); strings.Count(got, "not used") != 1 || !all(got, []string{gitToken, "spec.source.secretRef"}) || strings.Contains(got, "aTokenOfThePod") {
		t.Errorf("it says %q", got)
	}
}
