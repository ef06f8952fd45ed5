package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// NodeConfig is one node: what the controller asks of it, and what its agent says it is. It has
// the name of the node.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=nc,categories=sluice
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Config",type=string,JSONPath=`.status.config`,priority=1
// +kubebuilder:printcolumn:name="Ordered",type=integer,JSONPath=`.spec.generation`
// +kubebuilder:printcolumn:name="Taken up",type=integer,JSONPath=`.status.generation`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Why",type=string,JSONPath=`.status.why`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type NodeConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   NodeConfigSpec   `json:"spec,omitempty"`
	Status NodeConfigStatus `json:"status,omitempty"`
}

// NodeConfigSpec is the order for a node; empty while there is none. Only the controller writes it.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.generation) || has(self.generation) && self.generation >= oldSelf.generation",message="an order may not be older than the one before it"
// +kubebuilder:validation:XValidation:rule="!has(self.generation) || has(self.config) && has(self.ceiling)",message="an order names its config and its ceiling"
type NodeConfigSpec struct {
	// Generation of the order: an agent refuses anything older than what it has seen.
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`
	// Config is the digest of what the node should become.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	Config string `json:"config,omitempty"`
	// Ceiling is the worst that the node may do for it.
	// +kubebuilder:validation:Enum=none;reload;restart;drain;reboot;impossible
	Ceiling string `json:"ceiling,omitempty"`
	// Rules by which the ceiling was found; none is the table of the version that the agent has.
	// +kubebuilder:validation:MaxItems=500
	Rules []Rule `json:"rules,omitempty"`
	// NotAfter is when it is too late to begin.
	// +kubebuilder:validation:Format=date-time
	NotAfter string `json:"notAfter,omitempty"`
}

// Rule says what a change of a path or a unit, or of ssh keys, costs a node.
type Rule struct {
	Path    string `json:"path,omitempty"`
	Unit    string `json:"unit,omitempty"`
	SSHKey  bool   `json:"sshKey,omitempty"`
	Own     bool   `json:"own,omitempty"`
	Mirrors bool   `json:"mirrors,omitempty"`
	Kubelet bool   `json:"kubelet,omitempty"`
	// +kubebuilder:validation:MaxItems=20
	Actions []RuleAction `json:"actions,omitempty"`
}

// RuleAction is one thing that must follow a change.
type RuleAction struct {
	// +kubebuilder:validation:Enum=none;reload;restart;drain;reboot;impossible
	Kind  string `json:"kind"`
	Unit  string `json:"unit,omitempty"`
	Cause string `json:"cause,omitempty"`
}

// NodeConfigStatus is what a node says of itself. Only its agent writes it. Its words are bounded,
// since the controller carries them on: one node must not fill what is remembered of all.
type NodeConfigStatus struct {
	// ObservedGeneration is the metadata.generation that the conditions speak of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Generation of the newest order that the agent has taken up.
	// +kubebuilder:validation:Minimum=0
	Generation int64 `json:"generation,omitempty"`
	// Config is the digest of what the node is, whole and verified; empty is the bare OS.
	// +kubebuilder:validation:Pattern=`^([0-9a-f]{64})?$`
	Config string `json:"config,omitempty"`
	// Phase is how far the node has come with that order; empty: it never had one.
	// +kubebuilder:validation:MaxLength=64
	Phase string `json:"phase,omitempty"`
	// Drift is what on the node is not as ordered, by path.
	Drift []Drift `json:"drift,omitempty"`
	// BootID names the running boot.
	// +kubebuilder:validation:MaxLength=128
	BootID string `json:"bootID,omitempty"`
	// Why is the reason, whenever the phase is not done.
	// +kubebuilder:validation:MaxLength=4096
	Why string `json:"why,omitempty"`
}

// Drift is one thing on the node that is not as ordered. It never holds contents.
type Drift struct {
	// +kubebuilder:validation:MaxLength=8192
	Path string `json:"path"`
	// +kubebuilder:validation:MaxLength=64
	Kind string `json:"kind"`
	// +kubebuilder:validation:MaxLength=4096
	Why string `json:"why"`
}

// NodeConfigList is a list of NodeConfigs.
//
// +kubebuilder:object:root=true
type NodeConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []NodeConfig `json:"items"`
}
