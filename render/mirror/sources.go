package mirror

import (
	"encoding/json"
	"fmt"
	"strings"

	config "github.com/openshift/api/config/v1"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

func sourceMistakes(o Object) (errs manifest.Errors) {
	const field = "spec.registrySources"
	for _, list := range []struct {
		name   string
		scopes []string
	}{
		{"insecureRegistries", o.sources.InsecureRegistries},
		{"blockedRegistries", o.sources.BlockedRegistries},
		{"allowedRegistries", o.sources.AllowedRegistries},
	} {
		for i, s := range list.scopes {
			if !location.MatchString(s) && !wildcard.MatchString(s) {
				errs = append(errs, manifest.Error{Field: fmt.Sprintf("%s.%s[%d]", field, list.name, i), Why: quote(s) + " is none of host[:port], host[:port]/path, *.host"})
			}
		}
	}
	for i, s := range o.sources.ContainerRuntimeSearchRegistries {
		if !location.MatchString(s) {
			errs = append(errs, manifest.Error{Field: fmt.Sprintf("%s.containerRuntimeSearchRegistries[%d]", field, i), Why: quote(s) + " is not host[:port]"})
		}
	}
	if len(o.sources.AllowedRegistries) > 0 && len(o.sources.BlockedRegistries) > 0 {
		errs = append(errs, manifest.Error{Field: field + ".allowedRegistries", Why: "does not go with blockedRegistries: remove one of the two"})
	}
	return errs
}

// sourceFiles are what the Image config asks for besides registries.conf.
func sourceFiles(s config.RegistrySources) (files []machine.File) {
	if len(s.AllowedRegistries) > 0 || len(s.BlockedRegistries) > 0 {
		files = append(files, file(policyJSON, policy(s.AllowedRegistries, s.BlockedRegistries)))
	}
	if search := s.ContainerRuntimeSearchRegistries; len(search) > 0 {
		files = append(files, file(searchConf, encode(registries{Search: search})))
	}
	return files
}

type requirement struct {
	Type string `json:"type"`
}

var (
	accept = []requirement{{"insecureAcceptAnything"}}
	reject = []requirement{{"reject"}}
)

// policy accepts what is allowed and nothing else, or everything but what is blocked.
func policy(allowed, blocked []string) []byte {
	docker, atomic := map[string][]requirement{}, map[string][]requirement{}
	set := func(scopes []string, r []requirement) {
		for _, s := range scopes {
			docker[s] = r
			if strings.Count(s, "/") < 3 { // this transport knows no longer paths
				atomic[s] = r
			}
		}
	}
	set(allowed, accept)
	set(blocked, reject)
	otherwise := accept
	if len(allowed) > 0 {
		otherwise = reject
	}
	out, err := json.MarshalIndent(map[string]any{
		"default": otherwise,
		"transports": map[string]any{
			"atomic":        atomic,
			"docker":        docker,
			"docker-daemon": map[string][]requirement{"": accept},
		},
	}, "", "  ")
	if err != nil {
		panic("mirror: a policy cannot be written: " + err.Error())
	}
	return append(out, '\n')
}
