package kube

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// controller is one process of the controller, with an account of its own name: a token that no
// other has.
type controller struct {
	rig     *Rig
	name    string
	dir     string
	content string // HOST:PORT
	metrics string
	token   string // as the audit log names it
	version string
	proc    *process
}

func (c *controller) log() string { return filepath.Join(c.dir, "log") }

func (c *controller) prepare() {
	c.dir = filepath.Join(c.rig.dir, c.name)
	c.rig.must(os.MkdirAll(filepath.Join(c.dir, "tmp"), 0o755))
	c.content, c.metrics, c.version = free(c.rig), free(c.rig), present
	c.admit()
}

// admit gives it a token of its account.
func (c *controller) admit() {
	token, err := c.rig.token(c.rig.t.Context(), controllerName, nil)
	c.rig.must(err)
	c.rig.must(c.rig.kubeconfig(filepath.Join(c.dir, "kubeconfig"), token))
	c.token = credential(token)
}

// credential is how the audit log names a token.
func credential(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	text, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ JTI string }
	_ = json.Unmarshal(text, &claims)
	return "JTI=" + claims.JTI
}

// free is an address that nobody listens at.
func free(r *Rig) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.must(err)
	defer l.Close()
	return l.Addr().String()
}

func (c *controller) start() {
	c.rig.t.Helper()
	cmd := exec.Command(c.rig.program(c.version, "sluice"), "run", "--kubeconfig", filepath.Join(c.dir, "kubeconfig"), "--namespace", Namespace, "--fleet", fleetName,
		"--content-listen", c.content, "--metrics-listen", c.metrics)
	cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Join(c.dir, "tmp"))
	var err error
	c.proc, err = launch(c.log(), cmd)
	c.rig.must(err)
}

// replace has a process of another version take its place, and waits until it is ready.
func (c *controller) replace(version string) {
	c.rig.t.Helper()
	c.end()
	c.version = version
	c.start()
	c.rig.await(c.name+" is ready as "+version, func() bool {
		says := func(path string) string {
			answer, err := http.Get("http://" + c.metrics + path)
			if err != nil {
				return ""
			}
			defer answer.Body.Close()
			text, _ := io.ReadAll(answer.Body)
			return string(text)
		}
		return says("/readyz") == "ok\n" && strings.Contains(says("/metrics"), fmt.Sprintf("version=%q", version))
	})
}

func (c *controller) freeze() { c.rig.must(c.proc.signal(syscall.SIGSTOP)) }
func (c *controller) thaw()   { c.rig.must(c.proc.signal(syscall.SIGCONT)) }

// kill ends it as a power cut does.
func (c *controller) kill() { c.proc.kill() }

// end asks it to end, frozen or not, and holds that it does so without complaint.
func (c *controller) end() {
	if c.proc == nil {
		return
	}
	c.proc.signal(syscall.SIGCONT)
	if end := c.proc.stop(); end != "exit status 0" {
		c.rig.t.Errorf("asked to stop, %s ends with %s\n%s", c.name, end, tail(c.log(), 20))
	}
}

// leader is the controller that holds the lease: the name of a folder that it has made for itself is
// a part of what it signs the lease with. nil is none of ours.
func (r *Rig) leader() *controller {
	lease, err := r.core.CoordinationV1().Leases(Namespace).Get(r.t.Context(), "sluice-"+fleetName, metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return nil
	}
	_, own, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	for _, c := range r.controllers {
		if _, err := os.Stat(filepath.Join(c.dir, "tmp", own)); own != "" && err == nil {
			return c
		}
	}
	return nil
}

// other is the controller that is not this one.
func (r *Rig) other(c *controller) *controller {
	if r.controllers[0] == c {
		return r.controllers[1]
	}
	return r.controllers[0]
}
