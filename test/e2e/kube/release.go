package kube

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Releases, by the version that chart and programs are of.
const (
	previous = "0.0.9"
	present  = "dev"
)

// raced is the variable by which the programs are built with the race detector.
const raced = "SLUICE_E2E_RACE"

// build builds the programs under test, as those of a version.
func (r *Rig) build(version string) {
	r.t.Helper()
	r.must(os.MkdirAll(r.program(version, ""), 0o755))
	cmd := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", r.program(version, ""))
	cmd.Dir, cmd.Env = here(), append(os.Environ(), "CGO_ENABLED=0")
	if os.Getenv(raced) != "" {
		cmd.Args, cmd.Env = append(cmd.Args, "-race"), append(os.Environ(), "CGO_ENABLED=1")
	}
	cmd.Args = append(cmd.Args, "./cmd/sluice", "./cmd/sluice-agent")
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("build: %v\n%s", err, out)
	}
}

// program is the path of one of a version.
func (r *Rig) program(version, name string) string {
	return filepath.Join(r.dir, "programs", version) + "/" + name
}

// install installs the release before this one, and then this one: kinds, accounts and their rights,
// admission, DaemonSet and Fleet are the ones that users get.
func (r *Rig) install() {
	r.t.Helper()
	values, err := json.Marshal(map[string]any{
		"agent": map[string]any{"maxUnavailable": "25%"},
		"fleet": map[string]any{"create": true, "name": fleetName, "spec": map[string]any{
			"source": map[string]any{"url": r.server.CloneURL(fleetRepo), "interval": "500ms"},
			"github": map[string]any{"repository": fleetRepo, "url": r.server.APIURL()},
		}},
	})
	r.must(err)
	r.must(os.WriteFile(r.values(), values, 0o600))
	r.helm("install", "sluice", r.previousChart(), "--create-namespace", "--values", r.values(), "--set", "image.tag="+previous)
	r.upgrade()
}

// upgrade makes the installation one of this release.
func (r *Rig) upgrade() {
	r.t.Helper()
	r.helm("upgrade", "--install", "sluice", chart(), "--values", r.values(), "--set", "image.tag="+present)
}

func (r *Rig) values() string { return filepath.Join(r.dir, "values.json") }

func chart() string { return filepath.Join(here(), "charts", "sluice") }

// previousChart is the chart as the release before may have been: another version, a kind that prints
// less, and objects that were not there yet.
func (r *Rig) previousChart() string {
	r.t.Helper()
	dir := filepath.Join(r.dir, "previous")
	r.must(os.CopyFS(dir, os.DirFS(chart())))
	r.must(os.Remove(filepath.Join(dir, "templates", "network.yaml")))
	for file, change := range map[string][2]string{
		"Chart.yaml":                 {`(?m)^(version|appVersion): .*$`, "$1: " + previous},
		"crds/sluice.dev_pools.yaml": {`    - jsonPath: \.status\.waitingOn\n.*\n.*\n`, ""},
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		r.must(err)
		next := regexp.MustCompile(change[0]).ReplaceAllString(string(text), change[1])
		if next == string(text) {
			r.t.Fatalf("the previous release is this one: %s has no %s", file, change[0])
		}
		r.must(os.WriteFile(filepath.Join(dir, file), []byte(next), 0o644))
	}
	return dir
}

// helm runs helm on the cluster, with no settings of whoever runs the test.
func (r *Rig) helm(args ...string) string {
	r.t.Helper()
	cmd := exec.Command(r.helmPath, append(args, "--namespace", Namespace, "--kubeconfig", r.plane.Kubeconfig(r.t))...)
	home := filepath.Join(r.dir, "helm")
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, errors.String())
	}
	return string(out)
}
