package mirror

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

const (
	certsDir = "/etc/containerd/certs.d/"
	k3sConf  = "/etc/rancher/k3s/registries.yaml"
)

// upstream is one registry as containerd knows it: a host, and the hosts to ask before it.
type upstream struct {
	hosts []mirrorHost
	never bool
}

type mirrorHost struct {
	url     string
	resolve bool // may say which image a tag is; every host may hand out a digest
}

func containerd(objects []Object, p machine.Profile) (files []machine.File, notices []string, wrong []Mistake) {
	for i, o := range objects {
		if o.sources != nil {
			wrong = append(wrong, Mistake{i, manifest.Error{Field: "kind", Why: fmt.Sprintf("Image is for CRI-O, and nodes of the profile %s run containerd: write its configuration in a MachineConfig", p)}})
		}
	}
	digests, tags := merged(objects)
	all := map[string]*upstream{}
	for _, s := range slices.Concat(digests, tags) {
		if why := untold(s, p); why != "" {
			wrong = append(wrong, Mistake{s.object, manifest.Error{Field: s.field, Why: why}})
		}
	}
	if len(wrong) > 0 {
		return nil, nil, wrong
	}
	for _, s := range digests {
		gather(all, s, false)
	}
	for _, s := range tags {
		gather(all, s, true)
	}
	if p == machine.K3s {
		if len(digests) > 0 {
			notices = append(notices, "k3s asks the mirrors for tags, too, not only for digests")
		}
		if len(all) > 0 {
			files = append(files, file(k3sConf, k3sRegistries(all)))
		}
		return files, notices, nil
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		files = append(files, file(certsDir+name+"/hosts.toml", hostsToml(name, *all[name])))
	}
	return files, nil, nil
}

// untold is why containerd cannot be told of a source; "" when it can.
func untold(s source, p machine.Profile) string {
	name, path, _ := strings.Cut(s.name, "/")
	switch {
	case strings.HasPrefix(name, "*."):
		return fmt.Sprintf("containerd knows no wildcards: write each registry of %s", s.name)
	case s.never && p == machine.K3s:
		return "k3s cannot keep one registry from being asked: start it with --disable-default-registry-endpoint and write AllowContactingSource"
	case s.never && path != "":
		return fmt.Sprintf("containerd can keep whole registries from being asked, not %s alone: write the source %s", s.name, name)
	}
	for _, m := range s.mirrors {
		if _, ok := root(s.name, m); !ok {
			return fmt.Sprintf("containerd keeps the path below a registry: the mirror %s of %s must end in /%s", m, s.name, path)
		}
	}
	return ""
}

// root is the URL below which a mirror holds the paths of a registry.
func root(source, mirror string) (string, bool) {
	_, path, _ := strings.Cut(source, "/")
	at, own, _ := strings.Cut(mirror, "/")
	if path != "" {
		rest, ok := strings.CutSuffix("/"+own, "/"+path)
		if !ok {
			return "", false
		}
		own = strings.TrimPrefix(rest, "/")
	}
	if own == "" {
		return "https://" + at, true
	}
	return "https://" + at + "/v2/" + own, true
}

func gather(all map[string]*upstream, s source, resolve bool) {
	name, _, _ := strings.Cut(s.name, "/")
	if all[name] == nil {
		all[name] = &upstream{}
	}
	u := all[name]
	u.never = u.never || s.never
	for _, m := range s.mirrors {
		url, _ := root(s.name, m)
		if i := slices.IndexFunc(u.hosts, func(h mirrorHost) bool { return h.url == url }); i >= 0 {
			u.hosts[i].resolve = u.hosts[i].resolve || resolve
			continue
		}
		u.hosts = append(u.hosts, mirrorHost{url, resolve})
	}
}

// hostsToml asks the hosts in their order and then the server, which is the last mirror where
// the registry itself is never asked. The names hold nothing that TOML would have to escape.
func hostsToml(name string, u upstream) []byte {
	var out strings.Builder
	if u.never {
		last := u.hosts[len(u.hosts)-1]
		u.hosts = u.hosts[:len(u.hosts)-1]
		fmt.Fprintf(&out, "server = %q\n", last.url)
		last.settings(&out, "")
	} else {
		if name == "docker.io" {
			name = "registry-1.docker.io"
		}
		fmt.Fprintf(&out, "server = %q\n", "https://"+name)
	}
	for _, h := range u.hosts {
		fmt.Fprintf(&out, "\n[host.%q]\n", h.url)
		h.settings(&out, "  ")
	}
	return []byte(out.String())
}

func (h mirrorHost) settings(out *strings.Builder, indent string) {
	capabilities := `["pull"]`
	if h.resolve {
		capabilities = `["pull", "resolve"]`
	}
	fmt.Fprintf(out, "%scapabilities = %s\n", indent, capabilities)
	if strings.Contains(h.url, "/v2/") {
		fmt.Fprintf(out, "%soverride_path = true\n", indent)
	}
}

func k3sRegistries(all map[string]*upstream) []byte {
	mirrors := map[string]map[string][]string{}
	for name, u := range all {
		var urls []string
		for _, h := range u.hosts {
			urls = append(urls, h.url)
		}
		mirrors[name] = map[string][]string{"endpoint": urls}
	}
	encoded, err := json.Marshal(map[string]any{"mirrors": mirrors})
	if err == nil {
		encoded, err = yaml.JSONToYAML(encoded)
	}
	if err != nil {
		panic("mirror: registries.yaml cannot be written: " + err.Error())
	}
	return encoded
}
