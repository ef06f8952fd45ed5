package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

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
	pod    *corev1.Pod    // that the agent runs in; of run alone

	mu     sync.Mutex
	agent  *process
	runs   string        // the version of the agent
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
// When the agent's pod goes the agent ends, and the next pod brings its own.
func (m *machine) run(ctx context.Context) {
	for ctx.Err() == nil {
		if m.tokens(ctx) != nil { // the DaemonSet has not come by yet
			pause(ctx)
			continue
		}
		_, version, _ := strings.Cut(m.pod.Spec.Containers[0].Image, ":")
		agent, err := launch(m.log(), exec.Command(m.rig.program(version, "sluice-agent"), m.args()...))
		if err != nil {
			m.note(ctx, "%v", err)
			return
		}
		m.mu.Lock()
		m.agent, m.killed, m.runs = agent, false, version
		m.mu.Unlock()
		asked := m.accompany(ctx, agent)
		m.mu.Lock()
		asked, m.runs = asked || m.killed, ""
		m.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		switch down, err := m.goingDown(); {
		case err != nil:
			m.note(ctx, "%v", err)
		case down:
			m.cycle(ctx)
		case !asked:
			m.note(ctx, "the agent ended by itself: %s", agent.cmd.ProcessState)
			pause(ctx)
		}
	}
}

// accompany is with an agent until it has ended: by itself, or since the machine or its pod goes.
func (m *machine) accompany(ctx context.Context, agent *process) (asked bool) {
	near, stop := context.WithCancel(ctx)
	defer stop()
	left := make(chan struct{})
	go m.podLeaves(near, m.pod, left)
	select {
	case <-agent.over:
		return false
	case <-left:
		agent.stop()
	case <-ctx.Done():
		if end := agent.stop(); end != "exit status 0" {
			m.note(context.Background(), "asked to stop, the agent ends with %s", end)
		}
	}
	return true
}

// podLeaves watches the agent's pod, and says when it is asked to leave, or gone.
func (m *machine) podLeaves(ctx context.Context, pod *corev1.Pod, left chan<- struct{}) {
	pods := m.rig.core.CoreV1().Pods(Namespace)
	stays := func(p *corev1.Pod) bool { return p.UID == pod.UID && p.DeletionTimestamp == nil }
	for ; ctx.Err() == nil; pause(ctx) {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && !stays(now) {
			close(left)
			return
		}
		if err != nil {
			continue
		}
		w, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + now.Name, ResourceVersion: now.ResourceVersion})
		if err != nil {
			continue
		}
		for e := range w.ResultChan() {
			if p, is := e.Object.(*corev1.Pod); is && (e.Type == watch.Deleted || !stays(p)) {
				break // it is looked at anew
			}
		}
		w.Stop()
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
		for ctx.Err() == nil && (m.post(ctx, true, id) != nil || m.postPod(ctx) != nil) {
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

// postPod says that the agent's pod works again, which the cluster takes to have ended with its node.
func (m *machine) postPod(ctx context.Context) error {
	pod, err := m.rig.agentPod(ctx, m.name)
	if err != nil {
		return nil // one that is yet to come says it itself
	}
	patch := `{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}`
	_, err = m.rig.core.CoreV1().Pods(Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubelet"}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// version is what the agent that runs is of; "" is none.
func (m *machine) version() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runs
}

// tokens are what the kubelet gives the agent's pod: one for the server, one for the contents. While
// the server is away those of before do. Where there is no pod there is no agent.
func (m *machine) tokens(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := m.fetchTokens(short)
	if errors.Is(err, errNoPod) {
		return err
	}
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
	m.pod = pod
	return m.rig.kubeconfig(filepath.Join(m.dir, "kubeconfig"), token)
}
