// Package mirror turns the objects that say where images are pulled from into the files that a
// container runtime reads: ImageDigestMirrorSet, ImageTagMirrorSet, ImageContentSourcePolicy, and
// the registry sources of the Image config. It is pure.
//
// For CRI-O these are the files and the rules of MCO main; registries.conf begins with the search
// registries that OpenShift documents as its defaults, and policy.json with OpenShift's default
// of accepting everything. For containerd see Files.
package mirror

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	config "github.com/openshift/api/config/v1"
	operator "github.com/openshift/api/operator/v1alpha1"

	"github.com/sluice-gitops/sluice/machine"
	"github.com/sluice-gitops/sluice/machine/manifest"
)

// The kinds that Parse reads.
const (
	DigestMirrors = "ImageDigestMirrorSet"
	TagMirrors    = "ImageTagMirrorSet"
	ContentSource = "ImageContentSourcePolicy"
	Image         = "Image"
)

// Object is what one object says of registries.
type Object struct {
	Kind, Name string
	rules      []rule
	sources    *config.RegistrySources
}

// rule says that images of source may be pulled from mirrors, too.
type rule struct {
	source  string
	mirrors []string
	pull    string // digestOnly or tagOnly: the references that the mirrors are asked for
	never   bool   // the source itself is never asked
	field   string // where it stands in its object
}

const (
	digestOnly = "digest-only"
	tagOnly    = "tag-only"
)

// Mistake is one mistake of an author, in objects[Object].
type Mistake struct {
	Object int
	manifest.Error
}

// Parse reads one object of a kind that is named above, in JSON, strictly. The error is a
// manifest.Errors.
func Parse(kind string, encoded []byte) (Object, error) {
	o, errs := read(kind, encoded)
	if o.Name == "" && len(errs) == 0 {
		errs = append(errs, manifest.Error{Field: "metadata.name", Why: "is missing"})
	}
	for _, r := range o.rules {
		errs = append(errs, r.mistakes()...)
	}
	if o.sources != nil {
		errs = append(errs, sourceMistakes(o)...)
	}
	if len(errs) > 0 {
		return Object{}, errs
	}
	return o, nil
}

func read(kind string, encoded []byte) (Object, manifest.Errors) {
	switch kind {
	case DigestMirrors:
		var in config.ImageDigestMirrorSet
		errs := manifest.Decode(encoded, &in)
		o := Object{Kind: kind, Name: in.Name}
		for i, m := range in.Spec.ImageDigestMirrors {
			o.add("spec.imageDigestMirrors", i, m.Source, words(m.Mirrors), digestOnly, m.MirrorSourcePolicy, &errs)
		}
		return o, errs
	case TagMirrors:
		var in config.ImageTagMirrorSet
		errs := manifest.Decode(encoded, &in)
		o := Object{Kind: kind, Name: in.Name}
		for i, m := range in.Spec.ImageTagMirrors {
			o.add("spec.imageTagMirrors", i, m.Source, words(m.Mirrors), tagOnly, m.MirrorSourcePolicy, &errs)
		}
		return o, errs
	case ContentSource:
		var in operator.ImageContentSourcePolicy
		errs := manifest.Decode(encoded, &in)
		o := Object{Kind: kind, Name: in.Name}
		for i, m := range in.Spec.RepositoryDigestMirrors {
			o.add("spec.repositoryDigestMirrors", i, m.Source, m.Mirrors, digestOnly, "", &errs)
		}
		return o, errs
	case Image:
		var in config.Image
		errs := manifest.Decode(encoded, &in)
		return Object{Kind: kind, Name: in.Name, sources: &in.Spec.RegistrySources}, errs
	}
	return Object{}, manifest.Errors{{Field: "kind", Why: kind + " says nothing of registries"}}
}

func words(in []config.ImageMirror) []string {
	out := make([]string, len(in))
	for i, m := range in {
		out[i] = string(m)
	}
	return out
}

func (o *Object) add(list string, i int, source string, mirrors []string, pull string, p config.MirrorSourcePolicy, errs *manifest.Errors) {
	field := fmt.Sprintf("%s[%d]", list, i)
	switch p {
	case "", config.AllowContactingSource, config.NeverContactSource:
	default:
		*errs = append(*errs, manifest.Error{Field: field + ".mirrorSourcePolicy", Why: fmt.Sprintf("%q is none of AllowContactingSource, NeverContactSource", p)})
	}
	o.rules = append(o.rules, rule{source: source, mirrors: mirrors, pull: pull, never: p == config.NeverContactSource, field: field})
}

const host = `[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*`

var (
	location = regexp.MustCompile(`^` + host + `(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)
	wildcard = regexp.MustCompile(`^\*\.` + host + `$`)
)

func (r rule) mistakes() (errs manifest.Errors) {
	if !location.MatchString(r.source) && !wildcard.MatchString(r.source) {
		errs = append(errs, manifest.Error{Field: r.field + ".source", Why: quote(r.source) + " is none of host[:port], host[:port]/path, *.host"})
	}
	for i, m := range r.mirrors {
		field := fmt.Sprintf("%s.mirrors[%d]", r.field, i)
		if !location.MatchString(m) {
			errs = append(errs, manifest.Error{Field: field, Why: quote(m) + " is none of host[:port], host[:port]/path"})
		} else if r.never && m == r.source {
			errs = append(errs, manifest.Error{Field: field, Why: "is the source, which mirrorSourcePolicy NeverContactSource forbids to ask"})
		}
	}
	return errs
}

// real says whether the rule names a mirror besides the source itself. As in MCO main one that
// does not has no effect, its policy included.
func (r rule) real() bool {
	for _, m := range r.mirrors {
		if m != r.source {
			return true
		}
	}
	return false
}

// quote keeps an odd name to one line of a report, and a login that stands in it out of it.
func quote(s string) string {
	out, err := json.Marshal(s)
	login := strings.Contains(strings.ReplaceAll(s, "@sha256:", ""), "@")
	if err != nil || len(out) > 120 || login || machine.HoldsSecret([]byte(s)) {
		return "this"
	}
	return string(out)
}
