package kubelet

import "crypto/tls"

// The kubelet takes the names of these two lists.
func tlsSuites() []string         { return names(tls.CipherSuites()) }
func tlsInsecureSuites() []string { return names(tls.InsecureCipherSuites()) }

func names(all []*tls.CipherSuite) (out []string) {
	for _, s := range all {
		out = append(out, s.Name)
	}
	return out
}
