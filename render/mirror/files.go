package mirror

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

const (
	registriesConf = "/etc/containers/registries.conf"
	searchConf     = "/etc/containers/registries.conf.d/01-image-searchRegistries.conf"
	policyJSON     = "/etc/containers/policy.json"
)

// Files are what the objects of a build, in order of their names, amount to on the nodes of a
// profile ("" is openshift), sorted by path; notices are what a runtime does otherwise than an
// author may think. With a mistake there are no files.
//
// CRI-O (openshift) gets registries.conf, policy.json and the search registries. containerd is
// told of mirrors only: kubeadm's by /etc/containerd/certs.d/HOST/hosts.toml (its config_path
// must name that directory), k3s's by /etc/rancher/k3s/registries.yaml. It maps whole registries
// and keeps paths, so that not every rule can be told; one that cannot is a mistake.
func Files(objects []Object, p machine.Profile) (files []machine.File, notices []string, wrong []Mistake) {
	if wrong := conflicts(objects); len(wrong) > 0 {
		return nil, nil, wrong
	}
	switch p {
	case machine.Kubeadm, machine.K3s:
		files, notices, wrong = containerd(objects, p)
	default:
		files, wrong = crio(objects)
	}
	if len(wrong) > 0 {
		return nil, nil, wrong
	}
	for _, o := range objects {
		for _, r := range o.rules {
			if r.never && !r.real() {
				notices = append(notices, fmt.Sprintf("%s of %s %s has no effect: without mirrors its source is asked nevertheless", r.field, o.Kind, o.Name))
			}
		}
	}
	slices.SortFunc(files, func(a, b machine.File) int { return strings.Compare(a.Path, b.Path) })
	return files, notices, nil
}

func file(path string, contents []byte) machine.File {
	return machine.File{Path: path, Mode: 0o644, Contents: contents}
}

// registries is a registries.conf in its second format.
type registries struct {
	Search     []string   `toml:"unqualified-search-registries,omitempty"`
	ShortNames *string    `toml:"short-name-mode"`
	Registries []registry `toml:"registry,omitempty"`
}

type registry struct {
	Prefix   string     `toml:"prefix,omitempty"` // wildcards only
	Location string     `toml:"location,omitempty"`
	Insecure bool       `toml:"insecure,omitempty"`
	Blocked  bool       `toml:"blocked,omitempty"`
	Mirrors  []endpoint `toml:"mirror,omitempty"`
}

type endpoint struct {
	Location string `toml:"location"`
	Insecure bool   `toml:"insecure,omitempty"`
	Pull     string `toml:"pull-from-mirror,omitempty"`
}

func (r registry) scope() string { return r.Prefix + r.Location }

// entry is the registry of a scope, made where there is none.
func (c *registries) entry(scope string) *registry {
	i := slices.IndexFunc(c.Registries, func(r registry) bool { return r.scope() == scope })
	if i < 0 {
		i = len(c.Registries)
		r := registry{Location: scope}
		if strings.HasPrefix(scope, "*.") {
			r = registry{Prefix: scope}
		}
		c.Registries = append(c.Registries, r)
	}
	return &c.Registries[i]
}

func crio(objects []Object) (files []machine.File, wrong []Mistake) {
	shortNames := ""
	c := registries{Search: []string{"registry.access.redhat.com", "docker.io"}, ShortNames: &shortNames}
	digests, tags := merged(objects)
	for _, all := range []struct {
		pull    string
		sources []source
	}{{digestOnly, digests}, {tagOnly, tags}} {
		for _, s := range all.sources {
			r := c.entry(s.name)
			r.Blocked = r.Blocked || s.never
			for _, m := range s.mirrors {
				r.Mirrors = append(r.Mirrors, endpoint{Location: m, Pull: all.pull})
			}
		}
	}
	for i, o := range objects {
		if o.sources == nil {
			continue
		}
		if o.Name != "cluster" {
			wrong = append(wrong, Mistake{i, manifest.Error{Field: "metadata.name", Why: fmt.Sprintf("is %s: only the Image named cluster counts", o.Name)}})
			continue
		}
		c.mark(o.sources.InsecureRegistries, o.sources.BlockedRegistries)
		files = append(files, sourceFiles(*o.sources)...)
	}
	if len(c.Registries) > 0 {
		files = append(files, file(registriesConf, encode(c)))
	}
	return files, wrong
}

// mark flags scopes, and all narrower ones: a runtime looks at the closest entry only.
func (c *registries) mark(insecure, blocked []string) {
	for _, scope := range slices.Concat(insecure, blocked) {
		c.entry(scope)
	}
	for i := range c.Registries {
		r := &c.Registries[i]
		r.Insecure = r.Insecure || within(r.scope(), insecure)
		r.Blocked = r.Blocked || within(r.scope(), blocked)
		for j := range r.Mirrors {
			m := &r.Mirrors[j]
			m.Insecure = within(m.Location, insecure)
		}
	}
}

// within says whether a scope is one of others or lies in one.
func within(scope string, others []string) bool {
	return slices.ContainsFunc(others, func(o string) bool {
		if suffix, ok := strings.CutPrefix(o, "*"); ok {
			host, _, _ := strings.Cut(scope, "/")
			host, _, _ = strings.Cut(host, ":")
			return scope == o || strings.HasSuffix(host, suffix)
		}
		return scope == o || strings.HasPrefix(scope, o+"/")
	})
}

func encode(table any) []byte {
	out, err := toml.Marshal(table)
	if err != nil {
		panic("mirror: a table cannot be written: " + err.Error())
	}
	return out
}
