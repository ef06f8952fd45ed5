package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluice-gitops/sluice/nodeops/host"
	"github.com/sluice-gitops/sluice/nodeops/host/local"
)

// bootTime is how long a machine is away for a reboot.
const bootTime = 500 * time.Millisecond

// machine is what is under a node: a root of its own, its boots, its kubelet as far as that matters,
// and the process of its agent.
type machine struct {
	rig        *Rig
	name       string
	pool, zone string
	dir        string

	power  context.CancelFunc // takes it away
	group  sync.WaitGroup
	posted sync.WaitGroup // what the kubelet has yet to say

	mu     sync.Mutex
	agent  *process
	killed bool          // the agent, by us
	gate   chan struct{} // no boot until it is closed; nil: at once
	boots  int
	wrong  []string // what nobody had asked for
}

func (m *machine) root() string { return filepath.Join(m.dir, "root") }
func (m *machine) log() string  { return filepath.Join(m.dir, "agent.log") }

// start boots the machine for the first time, makes its Node and runs its agent until the test ends.
func (m *machine) start() error {
	if err := os.MkdirAll(m.root(), 0o755); err != nil {
		return err
	}
	id, err := m.boot()
	if err != nil {
		return err
	}
	labels := map[string]string{
		"node-role.kubernetes.io/" + m.pool: "", "topology.kubernetes.io/zone": m.zone,
		corev1.LabelHostname: m.name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
	}
	ctx, power := context.WithCancel(context.Background())
	m.power = power
	nodes := m.rig.core.CoreV1().Nodes()
	if _, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.name, Labels: labels}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := m.post(ctx, true, id); err != nil {
		return err
	}
	m.group.Go(func() { m.run(ctx) })
	return nil
}

// stop takes the machine away; its Node stays.
func (m *machine) stop() {
	m.power()
	m.group.Wait()
	m.posted.Wait()
}

// run is the machine's life: its agent runs, and where that has ended for a reboot the machine boots.
func (m *machine) run(ctx context.Context) {
	for ctx.Err() == nil {
		if m.tokens(ctx) != nil { // the DaemonSet has not come by yet
			pause(ctx)
			continue
		}
		agent, err := launch(m.log(), exec.Command(m.rig.agent, m.args()...))
		if err != nil {
			m.note(ctx, "%v", err)
			return
		}
		m.mu.Lock()
		m.agent, m.killed = agent, false
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			if end := agent.stop(); end != "exit status 0" {
				m.note(context.Background(), "asked to stop, the agent ends with %s", end)
			}
			return
		case <-agent.over:
		}
		m.mu.Lock()
		killed := m.killed
		m.mu.Unlock()
		switch down, err := m.goingDown(); {
		case err != nil:
			m.note(ctx, "%v", err)
		case down:
			m.cycle(ctx)
		case !killed:
			m.note(ctx, "the agent ended by itself: %s", agent.cmd.ProcessState)
			pause(ctx)
		}
	}
}

func (m *machine) args() []string {
	args := []string{
		"run", "--root", m.root(), "--node", m.name, "--kubeconfig", filepath.Join(m.dir, "kubeconfig"),
		"--content-ca", m.rig.contentCA(), "--content-token", filepath.Join(m.dir, "content.token"), "--interval", "2s",
	}
	for _, c := range m.rig.controllers {
		args = append(args, "--content", "https://"+c.content)
	}
	return args
}

func (m *machine) note(ctx context.Context, format string, args ...any) {
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = append(m.wrong, fmt.Sprintf(m.name+": "+format, args...))
}

// cycle is a reboot: the node is not ready, then in another boot, and its agent starts. What the
// kubelet says waits for the server, the agent does not.
func (m *machine) cycle(ctx context.Context) {
	m.posted.Wait()
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	m.post(short, false, "") // while the server is away nobody hears of it
	cancel()
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return
		}
	}
	select {
	case <-time.After(bootTime):
	case <-ctx.Done():
		return
	}
	id, err := m.boot()
	if err != nil {
		m.note(ctx, "%v", err)
		return
	}
	m.posted.Go(func() {
		for ctx.Err() == nil && m.post(ctx, true, id) != nil {
			pause(ctx)
		}
	})
}

// hold keeps the machine from booting until it is let go.
func (m *machine) hold() (release func()) {
	gate := make(chan struct{})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gate = gate
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.gate == gate {
			m.gate = nil
			close(gate)
		}
	}
}

// kill ends the agent as a power cut of its process does. It is started again.
func (m *machine) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.agent != nil {
		m.killed = true
		m.agent.signal(syscall.SIGKILL)
	}
}

func (m *machine) boot() (id string, err error) {
	files, err := host.Open(m.root())
	if err != nil {
		return "", err
	}
	defer files.Close()
	os := local.Machine{Files: files}
	if err := os.Boot(); err != nil {
		return "", err
	}
	m.mu.Lock()
	m.boots++
	m.mu.Unlock()
	return os.BootID(context.Background())
}

// goingDown says that the agent has asked for a reboot.
func (m *machine) goingDown() (bool, error) {
	text, err := os.ReadFile(filepath.Join(m.root(), local.MachinePath))
	if err != nil {
		return false, err
	}
	var s struct{ Rebooting bool }
	err = json.Unmarshal(text, &s)
	return s.Rebooting, err
}

// post is the kubelet's word.
func (m *machine) post(ctx context.Context, ready bool, bootID string) error {
	status, now := corev1.ConditionFalse, metav1.Now()
	if ready {
		status = corev1.ConditionTrue
	}
	conditions := []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: status, Reason: "Machine", LastHeartbeatTime: now, LastTransitionTime: now,
	}}
	body := map[string]any{"conditions": conditions}
	if bootID != "" {
		body["nodeInfo"] = map[string]any{"bootID": bootID}
		body["allocatable"] = map[string]string{"cpu": "8", "memory": "32Gi", "pods": "110"}
		body["capacity"] = body["allocatable"]
	}
	patch, err := json.Marshal(map[string]any{"status": body})
	if err != nil {
		return err
	}
	_, err = m.rig.core.CoreV1().Nodes().Patch(ctx, m.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kubelet"}, "status")
	return err
}

// tokens are what the kubelet gives the agent's pod: one for the server, one for the contents. While
// the server is away those of before do.
func (m *machine) tokens(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := m.fetchTokens(short)
	if _, had := os.Stat(filepath.Join(m.dir, "kubeconfig")); err != nil && had == nil {
		return nil
	}
	return err
}

func (m *machine) fetchTokens(ctx context.Context) error {
	pod, err := m.rig.agentPod(ctx, m.name)
	if err != nil {
		return err
	}
	bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	token, err := m.rig.token(ctx, agentName, bound)
	if err != nil {
		return err
	}
	content, err := m.rig.token(ctx, agentName, bound, "sluice-content")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(m.dir, "content.token"), []byte(content), 0o600); err != nil {
		return err
	}
	return m.rig.kubeconfig(filepath.Join(m.dir, "kubeconfig"), token)
}
