package render

import (
	"encoding/json"
	"path"
	"regexp"
	"strings"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

// named holds a name to what the API server takes, since pools become objects and folders of
// that name. It says false of a template, which is passed over as one that is no YAML is.
func (r *reader) named(file string, metadata json.RawMessage) bool {
	var in struct {
		Name   string         `json:"name"`
		Labels map[string]any `json:"labels"`
	}
	_ = json.Unmarshal(metadata, &in) // what does not fit is said with all else that does not
	role, _ := in.Labels[roleLabel].(string)
	if strings.Contains(in.Name+role, "{{") {
		r.warn(file, manifest.Error{Field: "metadata", Why: "is a template, and passed over: commit what it renders to"})
		return false
	}
	if in.Name != "" && path.Ext(file) != ".bu" && !nameable(in.Name) {
		r.fail(file, "metadata.name", "%q is no name of an object: write at most 253 lower case letters, digits, - and .", in.Name)
	}
	return true
}

var subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// nameable says whether an object can have the name (RFC 1123, as the API server reads it).
func nameable(name string) bool { return len(name) <= 253 && subdomain.MatchString(name) }

// foreign names a document that is not ours. One that was probably meant to be is named by its file.
func (r *reader) foreign(file, group, kind string) {
	const ours = "machineconfiguration.openshift.io"
	switch kind {
	case "MachineConfig", "MachineConfigPool", "KubeletConfig", "ContainerRuntimeConfig":
		r.notice("%s: %s of %q is passed over: those of %s/v1 are read", file, kind, group, ours)
	default:
		if group == ours {
			r.notice("%s: %s is passed over: it is no kind of %s that is read", file, kind, ours)
			return
		}
		r.passed[kind]++
	}
}

// typed gives the kind of a list to an item that has none of its own, as the API server prints
// lists of one kind.
func typed(item json.RawMessage, apiVersion, kind string) json.RawMessage {
	var fields map[string]json.RawMessage
	if kind == "" || json.Unmarshal(item, &fields) != nil || fields == nil || fields["kind"] != nil || fields["apiVersion"] != nil {
		return item
	}
	fields["kind"], _ = json.Marshal(kind)
	fields["apiVersion"], _ = json.Marshal(apiVersion)
	out, err := json.Marshal(fields)
	if err != nil {
		return item
	}
	return out
}
