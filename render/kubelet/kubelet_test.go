package kubelet

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

// object is a KubeletConfig with the spec that is given as YAML.
func object(t *testing.T, spec string) []byte {
	t.Helper()
	doc := "apiVersion: machineconfiguration.openshift.io/v1\nkind: KubeletConfig\nmetadata: {name: k}\nspec:\n  " +
		strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ") + "\n"
	encoded, err := manifest.FromYAML([]byte(doc))
	if err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	return encoded
}

func TestMistakes(t *testing.T) {
	worker, control := Options{}, Options{ControlPlane: true}
	kubeadm := Options{Profile: machine.Kubeadm}
	for _, tt := range []struct {
		name, spec string
		on         Options
		want       string // "" is none
	}{
		{"nothing but a name", "{}", worker, ""},
		{
			"a field that the kubelet does not know", "kubeletConfig: {maxPod: 5}", worker,
			"spec.kubeletConfig.maxPod: is not a known field: check its spelling and its place",
		},
		{
			"a field of another case", "kubeletConfig: {maxpods: 5}", worker,
			"spec.kubeletConfig.maxpods: is not a known field: check its spelling and its place",
		},
		{
			"a field that a part does not know", "kubeletConfig: {authentication: {webhook: {cacheTtl: 1m}}}", worker,
			"spec.kubeletConfig.authentication.webhook.cacheTtl: is not a known field: check its spelling and its place",
		},
		{
			"a field of the object that does not exist", "maxPods: 5", worker,
			"spec.maxPods: is not a known field: check its spelling and its place",
		},
		{"a wrong type", "kubeletConfig: {maxPods: many}", worker, "spec.kubeletConfig.maxPods: is of type string, expected a number"},
		{
			"a time that is none", "kubeletConfig: {nodeStatusUpdateFrequency: soon}", worker,
			"spec.kubeletConfig.nodeStatusUpdateFrequency: is not of the form that the kubelet reads: a time is written as 10s or 5m",
		},
		{"no object", "kubeletConfig: 'maxPods: 5'", worker, "spec.kubeletConfig: is not an object"},
		{"another kind inside", "kubeletConfig: {kind: Kubelet}", worker, "spec.kubeletConfig.kind: Kubelet is not KubeletConfiguration"},
		{
			"another version inside", "kubeletConfig: {apiVersion: kubelet.config.k8s.io/v1}", worker,
			"spec.kubeletConfig.apiVersion: kubelet.config.k8s.io/v1 is not known: write kubelet.config.k8s.io/v1beta1",
		},

		{"the driver of cgroups", "kubeletConfig: {cgroupDriver: systemd}", worker, "spec.kubeletConfig.cgroupDriver: is set by the platform: remove it"},
		{"the DNS of the cluster", "kubeletConfig: {clusterDNS: [10.0.0.1]}", worker, "spec.kubeletConfig.clusterDNS: is set by the platform: remove it"},
		{"the domain of the cluster", "kubeletConfig: {clusterDomain: x}", worker, "spec.kubeletConfig.clusterDomain: is set by the platform: remove it"},
		{"feature gates", "kubeletConfig: {featureGates: {A: true}}", worker, "spec.kubeletConfig.featureGates: is set by the platform: remove it"},
		{"swap", "kubeletConfig: {failSwapOn: false}", worker, "spec.kubeletConfig.failSwapOn: is set by the platform: remove it"},
		{
			"how swap is used", "kubeletConfig: {memorySwap: {swapBehavior: LimitedSwap}}", worker,
			"spec.kubeletConfig.memorySwap.swapBehavior: is set by the platform: remove it",
		},
		{
			"several at once", "kubeletConfig: {clusterDomain: x, cgroupDriver: z}", worker,
			"spec.kubeletConfig.cgroupDriver: is set by the platform: remove it\nspec.kubeletConfig.clusterDomain: is set by the platform: remove it",
		},
		{"fields at their zero are not set", `kubeletConfig: {clusterDNS: [], clusterDomain: "", featureGates: {}, cgroupDriver: ""}`, worker, ""},
		{"a platform that is not OpenShift sets none of them", "kubeletConfig: {clusterDNS: [10.0.0.1], failSwapOn: false, featureGates: {A: true}, cgroupDriver: systemd}", kubeadm, ""},

		{"no static pods on a worker", `kubeletConfig: {staticPodPath: ""}`, worker, ""},
		{
			"other static pods on a worker", "kubeletConfig: {staticPodPath: /x}", worker,
			`spec.kubeletConfig.staticPodPath: is set by the platform: remove it, or write "" to run no static pods`,
		},
		{
			"no static pods on the control plane", `kubeletConfig: {staticPodPath: ""}`, control,
			"spec.kubeletConfig.staticPodPath: may not be set on the control plane, which runs static pods: remove it",
		},

		{
			"a share of the system that is sized twice", "{autoSizingReserved: true, kubeletConfig: {systemReserved: {memory: 1Gi}}}", worker,
			"spec.kubeletConfig.systemReserved: does not go with autoSizingReserved, which computes it: remove one of the two",
		},
		{"a share that is not sized", "{autoSizingReserved: false, kubeletConfig: {systemReserved: {memory: 1Gi}}}", worker, ""},
		{
			"a share that is no quantity", "kubeletConfig: {systemReserved: {memory: lots}}", worker,
			"spec.kubeletConfig.systemReserved.memory: is not a quantity, as 500m or 1Gi are",
		},
		{
			"a share that would write another setting", `kubeletConfig: {kubeReserved: {cpu: "1\nLD_PRELOAD=/x"}}`, kubeadm,
			"spec.kubeletConfig.kubeReserved.cpu: is not a quantity, as 500m or 1Gi are",
		},
		{
			"sizing on a node that has no service for it", "autoSizingReserved: true", kubeadm,
			"spec.autoSizingReserved: is done by a service of OpenShift's nodes, which nodes of the profile kubeadm have not: write systemReserved",
		},
		{"the cgroup of the system", "kubeletConfig: {systemReservedCgroup: /system.slice}", worker, ""},
		{
			"another cgroup than the system's", "kubeletConfig: {systemReservedCgroup: /other.slice}", worker,
			"spec.kubeletConfig.systemReservedCgroup: is not the same as systemCgroups (/system.slice)",
		},
		{"both cgroups moved", "kubeletConfig: {systemReservedCgroup: /other.slice, systemCgroups: /other.slice}", worker, ""},

		{"the least log level", "logLevel: 0", worker, ""},
		{"the greatest log level", "logLevel: 10", worker, ""},
		{"a log level too low", "logLevel: -1", worker, "spec.logLevel: -1 is not between 0 and 10"},
		{"a log level too high", "logLevel: 11", worker, "spec.logLevel: 11 is not between 0 and 10"},

		{"an unknown TLS profile", "tlsSecurityProfile: {type: Best}", worker, `spec.tlsSecurityProfile.type: "Best" is none of Old, Intermediate, Modern, Custom`},
		{
			"a custom profile without its list", "tlsSecurityProfile: {type: Custom}", worker,
			"spec.tlsSecurityProfile.custom: is missing: a Custom profile lists minTLSVersion and ciphers there",
		},
		{
			"a version that is none", "tlsSecurityProfile: {type: Custom, custom: {minTLSVersion: TLS12, ciphers: []}}", worker,
			`spec.tlsSecurityProfile.custom.minTLSVersion: "TLS12" is none of VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13`,
		},
		{
			"a cipher that is none", "tlsSecurityProfile: {type: Custom, custom: {minTLSVersion: VersionTLS12, ciphers: [AES128-SHA, ROT13]}}", worker,
			`spec.tlsSecurityProfile.custom.ciphers[1]: "ROT13" is no cipher suite that OpenSSL names so`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			c, err := Parse(object(t, tt.spec))
			if err == nil {
				_, _, err = c.Files(tt.on)
			}
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// written renders a spec and answers the files by path, and what is said of it.
func written(t *testing.T, spec string, o Options) (map[string]string, []string) {
	t.Helper()
	c, err := Parse(object(t, spec))
	if err != nil {
		t.Fatal(err)
	}
	files, notices, err := c.Files(o)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		if f.Mode != 0o644 {
			t.Errorf("%s has mode %#o, want 0644", f.Path, f.Mode)
		}
		out[f.Path] = string(f.Contents)
	}
	return out, notices
}

// conf reads what a kubelet would, as strictly as a kubelet does.
func conf(t *testing.T, contents string) (typed v1beta1.KubeletConfiguration, fields map[string]any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(contents), &typed); err != nil {
		t.Fatalf("a kubelet would refuse it: %v\n%s", err, contents)
	}
	if err := yaml.Unmarshal([]byte(contents), &fields); err != nil {
		t.Fatal(err)
	}
	return typed, fields
}

func TestFieldsOverTheBase(t *testing.T) {
	for _, tt := range []struct {
		name, spec string
		keep       bool
		field      string // dotted, in kubelet.conf
		want       string // "<nil>" is not there
		lost       string
	}{
		{"the base alone", "{}", false, "maxPods", "250", ""},
		{"a field of the base", "kubeletConfig: {maxPods: 500}", false, "maxPods", "500", ""},
		{"a field that the base has not", "kubeletConfig: {topologyManagerPolicy: best-effort}", false, "topologyManagerPolicy", "best-effort", ""},
		{
			"a part is merged", "kubeletConfig: {authentication: {webhook: {cacheTTL: 1m}}}", false, "authentication",
			"map[anonymous:map[enabled:false] webhook:map[cacheTTL:1m] x509:map[clientCAFile:/etc/kubernetes/kubelet-ca.crt]]", "",
		},
		{"false over the base is lost", "kubeletConfig: {rotateCertificates: false}", false, "rotateCertificates", "true", "rotateCertificates"},
		{"false over the base is kept on request", "kubeletConfig: {rotateCertificates: false}", true, "rotateCertificates", "false", ""},
		{"0 over the base is lost", "kubeletConfig: {podPidsLimit: 0}", false, "podPidsLimit", "4096", "podPidsLimit"},
		{"0 over the base is kept on request", "kubeletConfig: {podPidsLimit: 0}", true, "podPidsLimit", "0", ""},
		{"an empty word over the base is lost", `kubeletConfig: {containerLogMaxSize: ""}`, false, "containerLogMaxSize", "50Mi", "containerLogMaxSize"},
		{"no time over the base is lost", "kubeletConfig: {nodeStatusUpdateFrequency: 0s}", false, "nodeStatusUpdateFrequency", "10s", "nodeStatusUpdateFrequency"},
		{"false that the base has, too, is not lost", "kubeletConfig: {serializeImagePulls: false}", false, "serializeImagePulls", "false", ""},
		{"false where the base says nothing", "kubeletConfig: {cpuCFSQuota: false}", false, "cpuCFSQuota", "false", ""},
		{"false deep inside", "kubeletConfig: {authentication: {anonymous: {enabled: false}}}", false, "authentication.anonymous.enabled", "false", ""},
		{"null is as not written", "kubeletConfig: {maxPods: null}", true, "maxPods", "250", ""},
		{"kernel defaults may be left alone", "kubeletConfig: {protectKernelDefaults: false}", false, "protectKernelDefaults", "false", ""},
		{"static pods may be turned off", `kubeletConfig: {staticPodPath: ""}`, false, "staticPodPath", "", ""},
		{"the default TLS version", "{}", false, "tlsMinVersion", "VersionTLS12", ""},
		{"old TLS", "tlsSecurityProfile: {type: Old}", false, "tlsMinVersion", "VersionTLS10", ""},
		{"modern TLS", "tlsSecurityProfile: {type: Modern}", false, "tlsCipherSuites", "[TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256]", ""},
		{
			"custom TLS, less what a kubelet cannot do", "tlsSecurityProfile: {type: Custom, custom: {minTLSVersion: VersionTLS11, ciphers: [AES256-SHA256, ECDHE-RSA-AES128-GCM-SHA256]}}", false,
			"tlsCipherSuites", "[TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]", "",
		},
		{"a field wins over the TLS profile", "{tlsSecurityProfile: {type: Old}, kubeletConfig: {tlsMinVersion: VersionTLS13}}", false, "tlsMinVersion", "VersionTLS13", ""},
		{"the system's share goes to the command line", "kubeletConfig: {systemReserved: {cpu: 1, memory: 2Gi, pid: '100'}}", false, "systemReserved", "map[pid:100]", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := strings.Replace(tt.spec, "cpu: 1,", "cpu: '1',", 1)
			files, notices := written(t, spec, Options{KeepZero: tt.keep})
			_, fields := conf(t, files[openShiftConf])
			var at any = fields
			for _, part := range strings.Split(tt.field, ".") {
				at = at.(map[string]any)[part]
			}
			if got := fmt.Sprint(at); got != tt.want {
				t.Errorf("%s is %s, want %s", tt.field, got, tt.want)
			}
			want := ""
			if tt.lost != "" {
				want = "spec.kubeletConfig." + tt.lost + " is lost"
			}
			if got, _, _ := strings.Cut(strings.Join(notices, "\n"), ":"); got != want {
				t.Errorf("said %q, want %q", got, want)
			}
		})
	}
}

// Every profile keeps to suites that the kubelet knows.
func TestTLSProfiles(t *testing.T) {
	for _, name := range []string{"Old", "Intermediate", "Modern"} {
		files, _ := written(t, "tlsSecurityProfile: {type: "+name+"}", Options{})
		typed, _ := conf(t, files[openShiftConf])
		known := map[string]bool{}
		for _, s := range append(tlsSuites(), tlsInsecureSuites()...) {
			known[s] = true
		}
		if len(typed.TLSCipherSuites) < 3 {
			t.Errorf("%s: %v", name, typed.TLSCipherSuites)
		}
		for _, s := range typed.TLSCipherSuites {
			if !known[s] {
				t.Errorf("%s: a kubelet would refuse %s", name, s)
			}
		}
	}
	for openssl, name := range suites {
		if name != "" && !strings.HasPrefix(name, "TLS_") {
			t.Errorf("%s: %s", openssl, name)
		}
	}
}

func TestOtherFiles(t *testing.T) {
	for _, tt := range []struct {
		name, spec string
		on         machine.Profile
		want       map[string]string // without kubelet.conf
	}{
		{"nothing else is asked for", "{}", "", map[string]string{}},
		{"a log level", "logLevel: 5", "", map[string]string{loggingConf: "[Service]\nEnvironment=\"KUBELET_LOG_LEVEL=5\"\n"}},
		{"sizing on", "autoSizingReserved: true", "", map[string]string{
			sizingEnv: "NODE_SIZING_ENABLED=true\nSYSTEM_RESERVED_MEMORY=1Gi\nSYSTEM_RESERVED_CPU=500m\nSYSTEM_RESERVED_ES=1Gi\n",
		}},
		{"sizing off", "autoSizingReserved: false", "", map[string]string{
			sizingEnv: "NODE_SIZING_ENABLED=false\nSYSTEM_RESERVED_MEMORY=1Gi\nSYSTEM_RESERVED_CPU=500m\nSYSTEM_RESERVED_ES=1Gi\n",
		}},
		{"a share of one's own", "kubeletConfig: {systemReserved: {memory: 3Gi, ephemeral-storage: 5Gi}}", "", map[string]string{
			sizingEnv: "NODE_SIZING_ENABLED=false\nSYSTEM_RESERVED_MEMORY=3Gi\nSYSTEM_RESERVED_CPU=500m\nSYSTEM_RESERVED_ES=5Gi\n",
		}},
		{"kubeadm's file stays, a drop-in goes over it", "{logLevel: 4, kubeletConfig: {maxPods: 30, failSwapOn: false}}", machine.Kubeadm, map[string]string{
			kubeadmConf: "apiVersion: kubelet.config.k8s.io/v1beta1\nfailSwapOn: false\nkind: KubeletConfiguration\nlogging:\n  verbosity: 4\nmaxPods: 30\n",
			kubeadmUnit: kubeadmArgs,
		}},
		{"a share of one's own stays in the drop-in", "kubeletConfig: {systemReserved: {memory: 3Gi}}", machine.K3s, map[string]string{
			k3sConf: "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nsystemReserved:\n  memory: 3Gi\n",
		}},
		{"what is empty counts in a drop-in", "{tlsSecurityProfile: {type: Old}, kubeletConfig: {evictionHard: {}, tlsCipherSuites: []}}", machine.K3s, map[string]string{
			k3sConf: "apiVersion: kubelet.config.k8s.io/v1beta1\nevictionHard: {}\nkind: KubeletConfiguration\ntlsCipherSuites: []\ntlsMinVersion: VersionTLS10\n",
		}},
		{"large numbers stay whole", "kubeletConfig: {maxOpenFiles: 10000000}", machine.K3s, map[string]string{
			k3sConf: "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxOpenFiles: 10000000\n",
		}},
		{"TLS in a drop-in only where it is asked for", "tlsSecurityProfile: {type: Modern}", machine.K3s, map[string]string{
			k3sConf: "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ntlsCipherSuites:\n- TLS_AES_128_GCM_SHA256\n- TLS_AES_256_GCM_SHA384\n- TLS_CHACHA20_POLY1305_SHA256\ntlsMinVersion: VersionTLS13\n",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files, _ := written(t, tt.spec, Options{Profile: tt.on})
			if tt.on == "" {
				conf(t, files[openShiftConf])
				delete(files, openShiftConf)
			}
			if diff := cmp.Diff(tt.want, files); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The author's fields are not spent by rendering them for one pool.
func TestRenderingTwiceGivesTheSame(t *testing.T) {
	c, err := Parse(object(t, "kubeletConfig: {systemReserved: {memory: 3Gi, pid: '5'}, authentication: {webhook: {cacheTTL: 1m}}, logging: {format: json}}\nlogLevel: 3"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {KeepZero: true}, {Profile: machine.K3s}, {Profile: machine.Kubeadm}} {
		first, _, err := c.Files(o)
		if err != nil {
			t.Fatal(err)
		}
		again, _, _ := c.Files(o)
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("%+v: %s", o, diff)
		}
	}
}

// Whatever is read without a mistake renders, and a kubelet could read it.
func FuzzParse(f *testing.F) {
	for _, spec := range []string{
		`{}`, `{"kubeletConfig":{"maxPods":5,"evictionHard":{"memory.available":"5%"}}}`, `{"kubeletConfig":null}`,
		`{"kubeletConfig":{"protectKernelDefaults":false,"rotateCertificates":false,"staticPodPath":""},"logLevel":3}`,
		`{"kubeletConfig":{"systemReserved":{"cpu":"1","memory":"1Gi"}},"tlsSecurityProfile":{"type":"Custom","custom":{"ciphers":["AES128-SHA"],"minTLSVersion":"VersionTLS12"}}}`,
	} {
		f.Add([]byte(`{"apiVersion":"machineconfiguration.openshift.io/v1","kind":"KubeletConfig","metadata":{"name":"k"},"spec":` + spec + `}`))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c, err := Parse(doc)
		if err != nil {
			return
		}
		for _, o := range []Options{{}, {KeepZero: true}, {ControlPlane: true}, {Profile: machine.Kubeadm}, {Profile: machine.K3s}} {
			files, _, err := c.Files(o)
			if err != nil {
				continue
			}
			for _, file := range files {
				if strings.HasSuffix(file.Path, "kubelet.conf") || strings.HasSuffix(file.Path, "90-kubeletconfig.conf") {
					conf(t, string(file.Contents))
				}
			}
		}
	})
}
