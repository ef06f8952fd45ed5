package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RolloutPolicy says when and how pools may be rolled out. It is read from the fleet repository; in
// a cluster it has no effect, and is known so that it can be checked.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=rop,categories=sluice
// +kubebuilder:printcolumn:name="Pools",type=string,JSONPath=`.spec.pools`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RolloutPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RolloutPolicySpec `json:"spec"`
}

// RolloutPolicySpec is the rules, and the pools that they are for.
type RolloutPolicySpec struct {
	// Pools that the policy is for; none are those of its build.
	Pools   []string `json:"pools,omitempty"`
	Rollout `json:",inline"`
}

// Rollout is when and how a pool may be rolled out.
type Rollout struct {
	// Windows in which nodes are begun; none is always.
	// +kubebuilder:validation:MaxItems=100
	Windows []Window `json:"windows,omitempty"`
	// Freezes in which none is, windows or not.
	// +kubebuilder:validation:MaxItems=100
	Freezes []Freeze `json:"freezes,omitempty"`

	Canary *Canary `json:"canary,omitempty"`
	Order  *Order  `json:"order,omitempty"`
	// Soak is how long the pool waits after each node, such as 2m.
	Soak          string         `json:"soak,omitempty"`
	FailureBudget *FailureBudget `json:"failureBudget,omitempty"`

	// Overrun of a window: deny begins only what is expected to end within it.
	// +kubebuilder:validation:Enum=deny;allow
	Overrun string `json:"overrun,omitempty"`
	Drain   *Drain `json:"drain,omitempty"`
	// Health is asked before every node.
	// +kubebuilder:validation:MaxItems=50
	Health    []HealthGate `json:"health,omitempty"`
	Approvals *Approvals   `json:"approvals,omitempty"`
	// Signed asks for a signature that the operator trusts on the commit.
	Signed bool `json:"signed,omitempty"`
	// RequirePreviewMatch asks that a merge costs what its preview said, or less.
	RequirePreviewMatch bool `json:"requirePreviewMatch,omitempty"`
	// Impact is what follows a change, before the repository's own and the default table.
	// +kubebuilder:validation:MaxItems=500
	Impact []Impact `json:"impact,omitempty"`
}

// Window is a time that returns.
type Window struct {
	// Schedule is a cron start of five fields.
	Schedule string `json:"schedule"`
	// Duration from the start, such as 4h.
	Duration string `json:"duration"`
	// TimeZone is an IANA name; none is UTC.
	TimeZone string `json:"timeZone,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// Freeze is a time in which nothing starts.
//
// +kubebuilder:validation:XValidation:rule="has(self.schedule) == has(self.duration) && has(self.from) == has(self.to) && has(self.schedule) != has(self.from)",message="give schedule and duration, or from and to"
type Freeze struct {
	Schedule string `json:"schedule,omitempty"`
	Duration string `json:"duration,omitempty"`
	TimeZone string `json:"timeZone,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// From is within.
	// +kubebuilder:validation:Format=date-time
	From string `json:"from,omitempty"`
	// To is the first moment after it.
	// +kubebuilder:validation:Format=date-time
	To string `json:"to,omitempty"`
}

// Canary is which nodes go first, alone.
//
// +kubebuilder:validation:XValidation:rule="!has(self.nodes) || !has(self.labels)",message="give nodes or labels"
type Canary struct {
	// Nodes is a number or a percentage.
	Nodes  string            `json:"nodes,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Soak   string            `json:"soak,omitempty"`
}

// Order is which nodes go before which.
type Order struct {
	// +kubebuilder:validation:Enum=order;barrier
	Zones string `json:"zones,omitempty"`
	// +kubebuilder:validation:Minimum=0
	MaxUnavailablePerZone int64 `json:"maxUnavailablePerZone,omitempty"`
	// After are pools that must have landed the same commit before.
	After []string `json:"after,omitempty"`
}

// FailureBudget is how many nodes a target may cost before it is stopped.
type FailureBudget struct {
	Nodes string `json:"nodes,omitempty"`
	// +kubebuilder:validation:Enum=halt;rollback
	Action string `json:"action,omitempty"`
}

// Drain is how a node is emptied, and what happens when it cannot be.
type Drain struct {
	Timeout string `json:"timeout,omitempty"`
	// +kubebuilder:validation:Enum=halt;skipNode;force
	OnTimeout string `json:"onTimeout,omitempty"`
	// +kubebuilder:validation:MaxItems=100
	Pods []Pods `json:"pods,omitempty"`
}

// Pods is how the pods with these labels leave a node.
type Pods struct {
	Namespace string            `json:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	// +kubebuilder:validation:Enum=evict;skip;wait;block
	Action string `json:"action"`
}

// HealthGate is a question whose answer must be yes before a node is begun.
//
// +kubebuilder:validation:XValidation:rule="[has(self.http), has(self.alerts), has(self.query), has(self.nodes), has(self.expression)].filter(x, x).size() == 1",message="give one of http, alerts, query, nodes and expression"
type HealthGate struct {
	Name       string `json:"name"`
	HTTP       string `json:"http,omitempty"`
	Alerts     string `json:"alerts,omitempty"`
	Query      string `json:"query,omitempty"`
	Nodes      string `json:"nodes,omitempty"`
	Expression string `json:"expression,omitempty"`
	Timeout    string `json:"timeout,omitempty"`
}

// Approvals is how many people must have agreed to a revision.
type Approvals struct {
	// +kubebuilder:validation:Minimum=1
	Count int64 `json:"count"`
	// From are users, and teams as ORG/TEAM; none is anybody but the author.
	From []string `json:"from,omitempty"`
}

// Impact is what follows a change to a path or a unit.
//
// +kubebuilder:validation:XValidation:rule="has(self.path) != has(self.unit)",message="give path or unit"
type Impact struct {
	Path string `json:"path,omitempty"`
	Unit string `json:"unit,omitempty"`
	// +kubebuilder:validation:MaxItems=10
	Actions []Action `json:"actions"`
}

// Action is one deed.
type Action struct {
	// +kubebuilder:validation:Enum=none;reload;restart;drain;reboot
	Kind string `json:"kind"`
	Unit string `json:"unit,omitempty"`
}

// RolloutPolicyList is a list of RolloutPolicies.
//
// +kubebuilder:object:root=true
type RolloutPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RolloutPolicy `json:"items"`
}
