package machine

import "fmt"

// Profile says whose node it is: where its kubelet reads its configuration, and which runtime
// pulls its images.
type Profile string

const (
	OpenShift Profile = "openshift" // one whole kubelet.conf, CRI-O
	Kubeadm   Profile = "kubeadm"   // kubeadm's configuration and a drop-in over it, containerd
	K3s       Profile = "k3s"       // k3s's own kubelet and containerd
)

// ParseProfile reads the word that an operator writes. "" is openshift.
func ParseProfile(word string) (Profile, error) {
	switch p := Profile(word); p {
	case "":
		return OpenShift, nil
	case OpenShift, Kubeadm, K3s:
		return p, nil
	}
	return "", fmt.Errorf("profile %q is none of %s, %s, %s", word, OpenShift, Kubeadm, K3s)
}
