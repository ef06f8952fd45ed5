package main

import (
	"path/filepath"
	"strconv"
)

const etcdAdvertised = "http://localhost:1"

func (o *upOptions) etcdURL(dir string) string { return "unix://" + filepath.Join(dir, "etcd.sock") }

func (o *upOptions) apiserverFlags(dir string) []string {
	p := func(f string) string { return filepath.Join(dir, "pki", f) }
	return []string{
		"--etcd-servers=" + o.etcdURL(dir),
		"--bind-address=" + o.bind,
		"--advertise-address=" + o.bind,
		"--secure-port=" + strconv.Itoa(o.port),
		"--endpoint-reconciler-type=none", // a loopback address is no valid endpoint
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--anonymous-auth=true", // /readyz and /livez without a certificate
		"--client-ca-file=" + p("ca.crt"),
		"--tls-cert-file=" + p("apiserver.crt"),
		"--tls-private-key-file=" + p("apiserver.key"),
		"--kubelet-client-certificate=" + p("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + p("apiserver-kubelet-client.key"),
		"--requestheader-client-ca-file=" + p("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p("front-proxy-client.crt"),
		"--proxy-client-key-file=" + p("front-proxy-client.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + p("sa.pub"),
		"--service-account-signing-key-file=" + p("sa.key"),
		"--enable-bootstrap-token-auth=true",
		"--allow-privileged=true",
		"--profiling=false",
	}
}

func (o *upOptions) kcmFlags(dir string) []string {
	p := func(f string) string { return filepath.Join(dir, "pki", f) }
	kc := filepath.Join(dir, "controller-manager.kubeconfig")
	return []string{
		"--kubeconfig=" + kc,
		"--authentication-kubeconfig=" + kc,
		"--authorization-kubeconfig=" + kc,
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--secure-port=0",
		"--use-service-account-credentials=true",
		"--kube-api-qps=500", "--kube-api-burst=1000", // 20 and 30 by default: slow with thousands of pods
		"--service-account-private-key-file=" + p("sa.key"),
		"--root-ca-file=" + p("ca.crt"),
		"--cluster-signing-cert-file=" + p("ca.crt"),
		"--cluster-signing-key-file=" + p("ca.key"),
		"--profiling=false",
	}
}

func (o *upOptions) schedFlags(dir string) []string {
	kc := filepath.Join(dir, "scheduler.kubeconfig")
	return []string{
		"--kubeconfig=" + kc,
		"--authentication-kubeconfig=" + kc,
		"--authorization-kubeconfig=" + kc,
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--secure-port=0",
		"--kube-api-qps=500", "--kube-api-burst=1000",
		"--profiling=false",
	}
}
