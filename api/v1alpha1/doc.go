// Package v1alpha1 is how Sluice's objects look in a Kubernetes cluster. Its wire form is frozen
// per version: what travels here is the JSON of the packages nodeops and policy, field by field,
// and the conversions refuse what the other side does not know.
//
// +kubebuilder:object:generate=true
// +groupName=sluice.dev
package v1alpha1

//go:generate go tool -modfile=../../tools/go.mod controller-gen object crd paths=. output:crd:dir=crds
//go:generate go test ../../test/chart -run Definitions -update

import (
	"embed"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is what every object of this package is of.
var GroupVersion = schema.GroupVersion{Group: "sluice.dev", Version: "v1alpha1"}

// CRDs are the definitions of the kinds, one YAML file each, below crds/.
//
//go:embed crds/*.yaml
var CRDs embed.FS

// AddToScheme makes the kinds known to a client.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Fleet{}, &FleetList{}, &Pool{}, &PoolList{}, &NodeConfig{}, &NodeConfigList{}, &RolloutPolicy{}, &RolloutPolicyList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
