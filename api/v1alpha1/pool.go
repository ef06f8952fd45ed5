package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Pool shows how a pool of nodes stands. The controller writes it, and nobody need: what a pool
// is comes from Git.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=sp,categories=sluice
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Updated",type=string,JSONPath=`.status.updated`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Unavailable",type=integer,JSONPath=`.status.nodes.unavailable`,priority=1
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.nodes.failed`,priority=1
// +kubebuilder:printcolumn:name="Drifted",type=integer,JSONPath=`.status.nodes.drifted`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Waiting on",type=string,JSONPath=`.status.waitingOn`
type Pool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Status PoolStatus `json:"status,omitempty"`
}

// PoolStatus is how a pool stands.
type PoolStatus struct {
	// ObservedGeneration is the metadata.generation that the conditions speak of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Phase in one word: Updated, Progressing, Waiting, Paused, Halted or Degraded.
	Phase string `json:"phase,omitempty"`
	// Updated is how many nodes are at the target, of how many, such as 3/12.
	Updated string `json:"updated,omitempty"`
	// Revision is the commit as people read it: its first seven digits.
	Revision string `json:"revision,omitempty"`
	// Commit that asked for the target, or confirmed it.
	Commit string `json:"commit,omitempty"`
	// Target is the digest of what the pool is moving to.
	Target string `json:"target,omitempty"`
	// WaitingOn is the first reason why the next node is not begun, or why the pool is halted.
	WaitingOn string `json:"waitingOn,omitempty"`
	// Waiting are all such reasons.
	Waiting []Finding `json:"waiting,omitempty"`
	// Nodes of the pool, counted.
	Nodes Nodes `json:"nodes,omitempty"`
	// Since is when the phase began.
	// +kubebuilder:validation:Format=date-time
	Since string `json:"since,omitempty"`
	// RollbackOf is an earlier commit with this very target.
	RollbackOf string `json:"rollbackOf,omitempty"`
	// Spurned is the digest of what the commit asks for where it failed and was taken back.
	Spurned string `json:"spurned,omitempty"`
	// History of targets that the whole pool has reached, newest first.
	History []Landing `json:"history,omitempty"`
}

// Nodes are counts of nodes.
type Nodes struct {
	Total       int64 `json:"total"`
	Updated     int64 `json:"updated"`
	Unavailable int64 `json:"unavailable"`
	Failed      int64 `json:"failed"`
	Drifted     int64 `json:"drifted"`
}

// Finding is the answer of one check of the gate.
type Finding struct {
	Check   string `json:"check"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
}

// Landing is a target that the whole pool has reached.
type Landing struct {
	Commit string `json:"commit"`
	Config string `json:"config"`
	// +kubebuilder:validation:Format=date-time
	At string `json:"at"`
	// Nodes that the pool had then.
	Nodes int64 `json:"nodes,omitempty"`
}

// PoolList is a list of Pools.
//
// +kubebuilder:object:root=true
type PoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Pool `json:"items"`
}
