package kubelet

import (
	"fmt"

	config "github.com/openshift/api/config/v1"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

// suites are the names that a TLS profile and the kubelet have for one cipher suite. "" is one
// that the kubelet cannot do; it is left out, as MCO main does.
var suites = map[string]string{
	"TLS_AES_128_GCM_SHA256":        "TLS_AES_128_GCM_SHA256",
	"TLS_AES_256_GCM_SHA384":        "TLS_AES_256_GCM_SHA384",
	"TLS_CHACHA20_POLY1305_SHA256":  "TLS_CHACHA20_POLY1305_SHA256",
	"ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
	"ECDHE-RSA-AES128-GCM-SHA256":   "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	"ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
	"ECDHE-RSA-AES256-GCM-SHA384":   "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
	"ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
	"ECDHE-RSA-CHACHA20-POLY1305":   "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	"ECDHE-ECDSA-AES128-SHA256":     "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
	"ECDHE-RSA-AES128-SHA256":       "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
	"ECDHE-ECDSA-AES128-SHA":        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
	"ECDHE-RSA-AES128-SHA":          "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
	"ECDHE-ECDSA-AES256-SHA384":     "",
	"ECDHE-RSA-AES256-SHA384":       "",
	"ECDHE-ECDSA-AES256-SHA":        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
	"ECDHE-RSA-AES256-SHA":          "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
	"DHE-RSA-AES128-GCM-SHA256":     "",
	"DHE-RSA-AES256-GCM-SHA384":     "",
	"DHE-RSA-CHACHA20-POLY1305":     "",
	"DHE-RSA-AES128-SHA256":         "",
	"DHE-RSA-AES256-SHA256":         "",
	"AES128-GCM-SHA256":             "TLS_RSA_WITH_AES_128_GCM_SHA256",
	"AES256-GCM-SHA384":             "TLS_RSA_WITH_AES_256_GCM_SHA384",
	"AES128-SHA256":                 "TLS_RSA_WITH_AES_128_CBC_SHA256",
	"AES256-SHA256":                 "",
	"AES128-SHA":                    "TLS_RSA_WITH_AES_128_CBC_SHA",
	"AES256-SHA":                    "TLS_RSA_WITH_AES_256_CBC_SHA",
	"DES-CBC3-SHA":                  "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
}

// profile is what a TLS profile stands for. An absent or empty type is Intermediate.
func profile(p *config.TLSSecurityProfile) config.TLSProfileSpec {
	if p != nil && p.Type == config.TLSProfileCustomType && p.Custom != nil {
		return p.Custom.TLSProfileSpec
	}
	if p != nil {
		if known := config.TLSProfiles[p.Type]; known != nil {
			return *known
		}
	}
	return *config.TLSProfiles[config.TLSProfileIntermediateType]
}

func tlsMistakes(p *config.TLSSecurityProfile) (errs manifest.Errors) {
	const field = "spec.tlsSecurityProfile"
	if p == nil {
		return nil
	}
	switch p.Type {
	case "", config.TLSProfileOldType, config.TLSProfileIntermediateType, config.TLSProfileModernType:
		return nil
	case config.TLSProfileCustomType:
	default:
		return manifest.Errors{{Field: field + ".type", Why: fmt.Sprintf("%q is none of Old, Intermediate, Modern, Custom", p.Type)}}
	}
	if p.Custom == nil {
		return manifest.Errors{{Field: field + ".custom", Why: "is missing: a Custom profile lists minTLSVersion and ciphers there"}}
	}
	switch p.Custom.MinTLSVersion {
	case config.VersionTLS10, config.VersionTLS11, config.VersionTLS12, config.VersionTLS13:
	default:
		errs = append(errs, manifest.Error{
			Field: field + ".custom.minTLSVersion",
			Why:   fmt.Sprintf("%q is none of VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13", p.Custom.MinTLSVersion),
		})
	}
	for i, cipher := range p.Custom.Ciphers {
		if _, known := suites[cipher]; !known {
			errs = append(errs, manifest.Error{
				Field: fmt.Sprintf("%s.custom.ciphers[%d]", field, i),
				Why:   fmt.Sprintf("%q is no cipher suite that OpenSSL names so", cipher),
			})
		}
	}
	return errs
}

// tlsFields are the kubelet's fields for a TLS profile.
func tlsFields(p *config.TLSSecurityProfile) map[string]any {
	spec := profile(p)
	ciphers := []any{}
	for _, c := range spec.Ciphers {
		if name := suites[c]; name != "" {
			ciphers = append(ciphers, name)
		}
	}
	return map[string]any{"tlsMinVersion": string(spec.MinTLSVersion), "tlsCipherSuites": ciphers}
}
