package manifest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	ignerrors "github.com/coreos/ignition/v2/config/shared/errors"
	v3 "github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
	vtree "github.com/coreos/vcontext/tree"
)

const inConfig = "spec.config"

// Empty is the Ignition config that asks for nothing.
func Empty() types.Config {
	return types.Config{Ignition: types.Ignition{Version: types.MaxVersion.String()}}
}

// parseIgnition reads a config of any version as one of 3.5. What Ignition only warns of is
// handed on, unknown keys among it: a node would ignore them as well.
func parseIgnition(raw []byte) (types.Config, Errors, Errors) {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || string(trimmed) == "null" || string(trimmed) == "{}" {
		return Empty(), nil, nil
	}
	version, errs := versionOf(raw)
	switch {
	case errs != nil:
		return Empty(), nil, errs
	case strings.HasPrefix(version, "2."):
		return convert(raw, version)
	case version == newest:
		return downgrade(raw)
	}
	return parse3(raw)
}

// parse3 reads 3.0 to 3.5 with Ignition's own packages.
func parse3(raw []byte) (types.Config, Errors, Errors) {
	var config types.Config
	var errs Errors
	if err := json.Unmarshal(raw, &config); err != nil {
		if raw, errs = mismatches(raw, reflect.TypeFor[types.Config](), err); raw == nil {
			return Empty(), nil, errs
		}
		config = types.Config{}
		if err := json.Unmarshal(raw, &config); err != nil {
			return Empty(), nil, errs
		}
	}
	if damaged := fixDataURLs(&config); len(damaged) > 0 {
		errs = append(errs, damaged...)
		raw = encoded(config) // with the damaged URLs taken out, so that all else is checked, too
	}
	parsed, found, err := v3.ParseCompatibleVersion(raw)
	var warnings Errors
	var tree any
	if len(found.Entries) > 0 {
		_ = json.Unmarshal(raw, &tree) // it has been read as JSON above; here it only names list elements
	}
	for _, e := range found.Entries {
		at := Error{Field: fieldOf(tree, e.Context), Why: reason(e)}
		if e.Kind == report.Error && !errs.at(at.Field) {
			errs = append(errs, at)
		} else if e.Kind == report.Warn {
			warnings = append(warnings, at)
		}
	}
	if err != nil && len(errs) == 0 {
		errs.add(inConfig, "%v", err)
	}
	if len(errs) == 0 {
		config = parsed
	}
	config.Ignition.Version = types.MaxVersion.String() // or what is wrong would hide what else is
	return config, append(warnings, suspiciousModes(config)...), errs
}

// mismatches are all the places where raw does not have the type t, and raw without them, or nil.
// err is what json said first.
func mismatches(raw []byte, t reflect.Type, err error) ([]byte, Errors) {
	var tree any
	var s shape
	fit := json.Unmarshal(raw, &tree) == nil && s.compare(tree, t, inConfig)
	if len(s.wrong) == 0 {
		s.wrong.add(inConfig, "%v", err)
	}
	if !fit {
		return nil, s.wrong
	}
	return encoded(withoutNil(tree)), s.wrong
}

// downgrade reads 3.6. All that it has over 3.5 is special mode bits and Clevis pins of any name:
// neither can be kept on a node that 3.5 describes, so they are mistakes.
func downgrade(raw []byte) (types.Config, Errors, Errors) {
	config, warnings, errs := parse3(withVersion(raw, types.MaxVersion.String()))
	for _, d := range config.Storage.Directories {
		if d.Mode != nil && *d.Mode > 0o777 {
			errs.add(inConfig+".storage.directories["+d.Path+"].mode", "%s", tooLarge(*d.Mode))
		}
	}
	return config, warnings, errs
}

func withVersion(raw []byte, version string) []byte {
	var config, ignition map[string]json.RawMessage
	if json.Unmarshal(raw, &config) != nil || json.Unmarshal(config["ignition"], &ignition) != nil {
		return raw // what is no object has no version, and never comes here
	}
	ignition["version"] = encoded(version)
	config["ignition"] = encoded(ignition)
	return encoded(config)
}

// encoded is the JSON of what came out of JSON.
func encoded(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic("manifest: own JSON does not encode: " + err.Error())
	}
	return out
}

const newest = "3.6.0"

// versionOf reads the version and says whether it is one that is read here. MCO main stops at 2.2
// and at 3.5; those in between and above mean the same on a node.
func versionOf(raw []byte) (string, Errors) {
	var head struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
	}
	field := inConfig + ".ignition.version"
	if err := json.Unmarshal(raw, &head); err != nil {
		_, errs := mismatches(raw, reflect.TypeOf(head), err)
		return "", errs
	}
	switch v := head.Ignition.Version; v {
	case "2.0.0", "2.1.0", "2.2.0", "2.3.0", "2.4.0", "2.5.0-experimental",
		"3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0", newest:
		return v, nil
	case "":
		return "", Errors{{Field: field, Why: `is missing: write "3.5.0"`}}
	default:
		why := "is not read by this version: 2.0.0 to 2.4.0 and 3.0.0 to 3.6.0 are"
		if !strings.HasPrefix(v, "2.") && !strings.HasPrefix(v, "3.") {
			why = "is not a version of Ignition: 2.0.0 to 2.4.0 and 3.0.0 to 3.6.0 are read"
		}
		return "", Errors{{Field: field, Why: why}}
	}
}

// fixDataURLs finds the data: URLs that are damaged and empties them in config.
func fixDataURLs(config *types.Config) (errs Errors) {
	check := func(at string, r *types.Resource) {
		if r.Source == nil || len(*r.Source) < 5 || !strings.EqualFold((*r.Source)[:5], "data:") {
			return
		}
		if _, ok := dataURL(*r.Source); !ok {
			errs.add(inConfig+"."+at+".source", "is not a valid data: URL")
			empty := "data:,"
			r.Source = &empty
			r.Compression, r.Verification = nil, types.Verification{}
		}
	}
	storage, ignition := &config.Storage, &config.Ignition
	for i := range storage.Files {
		f := &storage.Files[i]
		check("storage.files["+f.Path+"].contents", &f.Contents)
		for j := range f.Append {
			check(fmt.Sprintf("storage.files[%s].append[%d]", f.Path, j), &f.Append[j])
		}
	}
	for i := range storage.Luks {
		check("storage.luks["+storage.Luks[i].Name+"].keyFile", &storage.Luks[i].KeyFile)
	}
	check("ignition.config.replace", &ignition.Config.Replace)
	for i := range ignition.Config.Merge {
		check(fmt.Sprintf("ignition.config.merge[%d]", i), &ignition.Config.Merge[i])
	}
	for i := range ignition.Security.TLS.CertificateAuthorities {
		check(fmt.Sprintf("ignition.security.tls.certificateAuthorities[%d]", i), &ignition.Security.TLS.CertificateAuthorities[i])
	}
	return errs
}

// suspiciousModes are those that are valid, but look like octal digits read as decimal.
func suspiciousModes(config types.Config) (warnings Errors) {
	check := func(at string, mode *int) {
		if mode == nil || *mode < 0 || *mode > 0o777 {
			return
		}
		if meant, probably := misread(*mode); probably {
			warnings.add(inConfig+".storage."+at+".mode", "%d is read as %#o: write %s if that was meant", *mode, *mode, meant)
		}
	}
	for _, f := range config.Storage.Files {
		check("files["+f.Path+"]", f.Mode)
	}
	for _, d := range config.Storage.Directories {
		check("directories["+d.Path+"]", d.Mode)
	}
	return warnings
}

// fieldOf names list elements as a person finds them: by path or name, not by number.
func fieldOf(tree any, at path.ContextPath) string {
	var out strings.Builder
	out.WriteString(inConfig)
	for _, step := range at.Path {
		switch step := step.(type) {
		case string, vtree.Key:
			object, _ := tree.(map[string]any)
			tree = object[fmt.Sprint(step)]
			fmt.Fprint(&out, ".", step)
		case int:
			list, _ := tree.([]any)
			tree = nil
			if step < len(list) {
				tree = list[step]
			}
			fmt.Fprintf(&out, "[%s]", elementName(tree, step))
		}
	}
	return out.String()
}

// naming are the keys that list elements go by.
var naming = []string{"path", "name", "device"}

func elementName(element any, index int) string {
	object, _ := element.(map[string]any)
	for _, key := range naming {
		if s, ok := object[key].(string); ok && s != "" {
			return s
		}
	}
	return fmt.Sprint(index)
}

// reason is what Ignition says, except where it might quote contents.
func reason(e report.Entry) string {
	steps := e.Context.Path
	last := ""
	if len(steps) > 0 {
		last = fmt.Sprint(steps[len(steps)-1])
	}
	switch {
	case last == "source" && e.Kind == report.Error:
		return "is not a valid URL"
	case last == "contents" && e.Kind == report.Error:
		return "is not a valid unit file"
	case strings.HasPrefix(e.Message, "unused key"):
		return unusedKey(last)
	}
	return cmp.Or(advice[e.Message], e.Message)
}

// advice says what to write, where Ignition says only that something is wrong.
var advice = map[string]string{
	ignerrors.ErrDuplicate.Error():               "stands twice: keep one of them",
	ignerrors.ErrInvalidSystemdExt.Error():       "has no suffix that systemd knows: write it whole, as in NAME.service or NAME.timer",
	ignerrors.ErrInvalidSystemdDropinExt.Error(): "does not end in .conf: systemd would not read it",
	ignerrors.ErrPathRelative.Error():            "is not absolute: begin it with /",
	ignerrors.ErrDirtyPath.Error():               `is not clean: write it without "..", "." and "//"`,
	ignerrors.ErrBothIDAndNameSet.Error():        "has both id and name: give one",
	ignerrors.ErrCompressionInvalid.Error():      "only gzip is read",
	ignerrors.ErrFileIllegalMode.Error():         "is not between 0 and 0777",
}

// unusedKey tells what a key of Ignition 2 that was left in a config of 3 is now.
func unusedKey(key string) string {
	why := "is not a key of this version of Ignition: it is ignored"
	switch key {
	case "filesystem":
		why += ". It is of Ignition 2: remove it"
	case "networkd":
		why += ". It is of Ignition 2: write the files below /etc/systemd/network to storage.files"
	case "enable":
		why += ". It is of Ignition 2: write enabled"
	}
	return why
}
