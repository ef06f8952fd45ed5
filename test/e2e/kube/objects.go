package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sluice-gitops/sluice/api/v1alpha1"
)

// findHelm is the path of helm; "" is none. make test builds it and names it in SLUICE_HELM.
func findHelm() string {
	if path, set := os.LookupEnv("SLUICE_HELM"); set {
		return path
	}
	out, err := exec.Command("bash", filepath.Join(here(), "test", "chart", "helm.sh"), "--cached").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// token is one of an account, bound to a pod where one is named, for the server where no audience is.
func (r *Rig) token(ctx context.Context, account string, bound *authenticationv1.BoundObjectReference, audience ...string) (string, error) {
	long := int64(6 * 60 * 60)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audience, ExpirationSeconds: &long, BoundObjectRef: bound}}
	answer, err := r.core.CoreV1().ServiceAccounts(Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}

// kubeconfig writes one for a token.
func (r *Rig) kubeconfig(file, token string) error {
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: r.config.Host, CertificateAuthorityData: r.config.CAData, CertificateAuthority: r.config.CAFile}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"
	return clientcmd.WriteToFile(*c, file)
}

// agentPod is the pod that the DaemonSet has on a node.
func (r *Rig) agentPod(ctx context.Context, node string) (*corev1.Pod, error) {
	pods, err := r.core.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/component=agent", FieldSelector: "spec.nodeName=" + node,
	})
	if err != nil {
		return nil, err
	}
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			return &pods.Items[i], nil
		}
	}
	return nil, errNoPod
}

var errNoPod = errors.New("the DaemonSet has no pod on this node")

func (r *Rig) contentCA() string { return filepath.Join(r.dir, "ca.crt") }

// publish does what the kubelets do with the ConfigMap that agents mount: its file appears when it
// is there, and changes with it.
func (r *Rig) publish(ctx context.Context) {
	last := ""
	for ctx.Err() == nil {
		have, err := r.core.CoreV1().ConfigMaps(Namespace).Get(ctx, "sluice-content-ca", metav1.GetOptions{})
		if now := ""; err == nil {
			if now = have.Data["ca.crt"]; now != last && os.WriteFile(r.contentCA()+".new", []byte(now), 0o644) == nil {
				if os.Rename(r.contentCA()+".new", r.contentCA()) == nil {
					last = now
				}
			}
		}
		pause(ctx)
	}
}

// pool is a Pool as it is shown.
func (r *Rig) pool(name string) v1alpha1.PoolStatus {
	var p v1alpha1.Pool
	r.read("pools", name, &p)
	return p.Status
}

// order is what the NodeConfig of a node says.
func (r *Rig) order(node string) v1alpha1.NodeConfig {
	var c v1alpha1.NodeConfig
	r.read("nodeconfigs", node, &c)
	return c
}

// read leaves as it is what cannot be had.
func (r *Rig) read(resource, name string, into any) {
	have, err := r.objects.Resource(v1alpha1.GroupVersion.WithResource(resource)).Get(r.t.Context(), name, metav1.GetOptions{})
	if err == nil {
		_ = runtime.DefaultUnstructuredConverter.FromUnstructured(have.Object, into)
	}
}

// Cordon closes or opens a node as somebody who is no part of Sluice.
func (r *Rig) Cordon(node string, closed bool) {
	r.t.Helper()
	patch := fmt.Sprintf(`{"spec": {"unschedulable": %t}}`, closed)
	n, err := r.core.CoreV1().Nodes().Patch(r.t.Context(), node, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-cordon"})
	r.must(err)
	r.observer.hand(n.ResourceVersion)
}

// patchFleet changes the spec of the Fleet, as its operator.
func (r *Rig) patchFleet(patch string) {
	r.t.Helper()
	_, err := r.objects.Resource(v1alpha1.GroupVersion.WithResource("fleets")).
		Patch(r.t.Context(), fleetName, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "operator"})
	r.must(err)
}

// why is what the command line says of a pool.
func (r *Rig) why(args ...string) string {
	cmd := exec.Command(r.program(present, "sluice"), append([]string{"why", "--kubeconfig", r.plane.Kubeconfig(r.t)}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(string(out))).Error()
	}
	return string(out)
}
