package kubelet

// base are the settings that OpenShift documents for the kubelet of its nodes, as far as they do
// not come from objects of the cluster.
func base(clusterDNS string) map[string]any {
	if clusterDNS == "" {
		clusterDNS = "172.30.0.10"
	}
	return map[string]any{
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"x509":      map[string]any{"clientCAFile": "/etc/kubernetes/kubelet-ca.crt"},
		},
		"cgroupDriver":              "systemd",
		"cgroupRoot":                "/",
		"clusterDNS":                []any{clusterDNS},
		"clusterDomain":             "cluster.local",
		"containerLogMaxSize":       "50Mi",
		"enableSystemLogQuery":      true,
		"kubeAPIBurst":              100,
		"kubeAPIQPS":                50,
		"maxPods":                   250,
		"nodeStatusReportFrequency": "5m0s",
		"nodeStatusUpdateFrequency": "10s",
		"podPidsLimit":              4096,
		"protectKernelDefaults":     true,
		"rotateCertificates":        true,
		"serializeImagePulls":       false,
		"serverTLSBootstrap":        true,
		staticPodPath:               "/etc/kubernetes/manifests",
		"systemCgroups":             systemSlice,
	}
}
