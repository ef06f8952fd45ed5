package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Fleet is what the operator of a cluster decides: which repository the nodes follow, and what no
// commit may relax.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=sluice
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.source.url`
// +kubebuilder:printcolumn:name="Branch",type=string,JSONPath=`.spec.source.branch`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Fleet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   FleetSpec   `json:"spec"`
	Status FleetStatus `json:"status,omitempty"`
}

// FleetSpec is what a fleet follows, and whom it tells.
type FleetSpec struct {
	Source Source `json:"source"`
	// GitHub is where statuses and comments go; none: nobody is told.
	GitHub *GitHub `json:"github,omitempty"`
	// Profile is where the nodes read their kubelet's settings.
	// +kubebuilder:validation:Enum=openshift;kubeadm;k3s
	// +kubebuilder:default=openshift
	Profile string `json:"profile,omitempty"`
	// ClusterDNS is the address of the cluster's name server, which KubeletConfigs need.
	ClusterDNS string `json:"clusterDNS,omitempty"`
	// Guardrail are rules that no commit can relax.
	Guardrail *Rollout `json:"guardrail,omitempty"`
	// Prometheus is the URL of the one that health gates ask.
	// +kubebuilder:validation:MaxLength=2048
	Prometheus string `json:"prometheus,omitempty"`
	// ProbeHosts are the hosts, as HOST or HOST:PORT, that health gates may ask over HTTP; none: any.
	// +kubebuilder:validation:MaxItems=100
	ProbeHosts []string `json:"probeHosts,omitempty"`
	// TrustedKeys are OpenPGP public keys and allowed_signers lines, whose signatures count.
	// +kubebuilder:validation:MaxLength=262144
	TrustedKeys string `json:"trustedKeys,omitempty"`
	// Holds stop pools until they are released or their time is over.
	// +kubebuilder:validation:MaxItems=100
	Holds []Hold `json:"holds,omitempty"`
	// Rewind is the commit that may be followed although its branch was rewritten.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}$`
	Rewind string `json:"rewind,omitempty"`
}

// Source is a branch of a Git repository.
//
// +kubebuilder:validation:XValidation:rule="!self.url.matches('^[a-z]+://[^/]*@')",message="the address may hold no credentials"
type Source struct {
	// URL is https, or http on loopback.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
	// Branch that is followed.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:default=main
	Branch string `json:"branch,omitempty"`
	// Interval at which Git is asked, such as 30s.
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:default="30s"
	Interval string `json:"interval,omitempty"`
	// SecretRef names the credentials of the repository: a Secret with the key token, or with username and password.
	SecretRef *SecretRef `json:"secretRef,omitempty"`
}

// SecretRef names a Secret of the controller's namespace. It is read every few seconds: what is
// renewed there holds at once.
type SecretRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// GitHub is a repository on GitHub.
type GitHub struct {
	// Repository as OWNER/REPO.
	// +kubebuilder:validation:Pattern=`^[^/\s]+/[^/\s]+$`
	Repository string `json:"repository"`
	// URL of the API of a GitHub Enterprise Server.
	URL string `json:"url,omitempty"`
	// SecretRef names the credentials: a Secret with the key token.
	SecretRef *SecretRef `json:"secretRef,omitempty"`
}

// Hold is an operator's stop.
type Hold struct {
	// Pool that is held; none is all of them.
	Pool string `json:"pool,omitempty"`
	// +kubebuilder:validation:MinLength=1
	Reason string `json:"reason"`
	// +kubebuilder:validation:MinLength=1
	By string `json:"by"`
	// +kubebuilder:validation:Format=date-time
	Since string `json:"since,omitempty"`
	// Until is when it ends by itself; none: when it is released.
	// +kubebuilder:validation:Format=date-time
	Until string `json:"until,omitempty"`
}

// FleetStatus is how a fleet stands.
type FleetStatus struct {
	// ObservedGeneration is the metadata.generation that the conditions speak of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Revision in force: the newest that renders, as people read it.
	Revision string `json:"revision,omitempty"`
	// Commit in force.
	Commit string `json:"commit,omitempty"`
}

// FleetList is a list of Fleets.
//
// +kubebuilder:object:root=true
type FleetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Fleet `json:"items"`
}
