package chart

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var (
	building sync.Once
	programs string
)

// built is the folder with both programs.
func built(t *testing.T) string {
	t.Helper()
	building.Do(func() {
		dir, err := os.MkdirTemp("", "sluice-chart-") // the package's, not this test's
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../../cmd/sluice", "../../cmd/sluice-agent").CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		programs = dir
	})
	if programs == "" {
		t.Skip("the programs could not be built, as was said before")
	}
	return programs
}

// TestProgramsKnowTheirArguments gives both programs what the chart gives them.
func TestProgramsKnowTheirArguments(t *testing.T) {
	all := objects(helm(t, "template", release, folder, "--namespace", space))
	for _, name := range []string{"Deployment " + space + "/sluice-controller", "DaemonSet " + space + "/sluice-agent"} {
		var workload struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		if err := yaml.Unmarshal([]byte(all[name]), &workload); err != nil {
			t.Fatal(err)
		}
		c := workload.Spec.Template.Spec.Containers[0]
		line := append(slices.Clone(c.Args), "--help") // they read what is before it
		out, err := exec.CommandContext(t.Context(), filepath.Join(built(t), c.Command[0]), line...).CombinedOutput()
		if err != nil {
			t.Errorf("%s %s: %v\n%s", c.Command[0], strings.Join(c.Args, " "), err, out)
		}
	}
}

// TestHelmTest runs what the pod of helm test runs: the real program with the pod's arguments, its
// kubeconfig and its account. Only the addresses in that file are this machine's.
func TestHelmTest(t *testing.T) {
	config := installed(t)
	binary := filepath.Join(built(t), "sluice")
	all := objects(helm(t, "template", release, folder, "--namespace", space, "--set", made))
	for _, name := range []string{"ServiceAccount " + space + "/sluice-test", "ClusterRoleBinding /sluice-test"} {
		plane.Apply(t, all[name])
	}
	token, err := clientOf(t, config).CoreV1().ServiceAccounts(space).CreateToken(t.Context(), "sluice-test", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	var files corev1.ConfigMap
	for name, into := range map[string]any{"Pod": &pod, "ConfigMap": &files} {
		if err := yaml.UnmarshalStrict([]byte(all[name+" "+space+"/sluice-test"]), into); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	here := strings.NewReplacer("https://kubernetes.default.svc", config.Host, "/var/run/secrets/kubernetes.io/serviceaccount", dir).Replace(files.Data["kubeconfig"])
	for name, text := range map[string]string{"token": token.Status.Token, "ca.crt": string(config.CAData), "kubeconfig": here} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		for i, a := range args {
			args[i] = strings.Replace(a, pod.Spec.Containers[0].VolumeMounts[0].MountPath, dir, 1)
		}
		out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
		return string(out), err
	}
	args := pod.Spec.Containers[0].Args
	if out, err := run(args...); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	if out, err := run(append(args, "--fleet=none")...); err == nil || !strings.Contains(out, "none") {
		t.Errorf("without its Fleet: %v\n%s", err, out)
	}
}
