package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v3 "github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

const inConfig = "spec.config"

// Empty is the Ignition config that asks for nothing.
func Empty() types.Config {
	return types.Config{Ignition: types.Ignition{Version: types.MaxVersion.String()}}
}

// parseIgnition reads the config with Ignition's own packages. What Ignition only warns of is
// handed on, unknown keys among it: a node would ignore them as well.
func parseIgnition(raw []byte) (types.Config, Errors, Errors) {
	if trimmed := bytes.TrimSpace(raw); len(trimmed) == 0 || string(trimmed) == "null" || string(trimmed) == "{}" {
		return Empty(), nil, nil
	}
	if errs := checkVersion(raw); errs != nil {
		return Empty(), nil, errs
	}
	if err := json.Unmarshal(raw, new(types.Config)); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			return Empty(), nil, Errors{mismatch(inConfig+".", wrong)}
		}
		return Empty(), nil, Errors{{Field: inConfig, Why: err.Error()}}
	}
	config, found, err := v3.ParseCompatibleVersion(raw)
	var warnings, errs Errors
	var tree any
	if len(found.Entries) > 0 {
		_ = json.Unmarshal(raw, &tree) // it has been read as JSON above; here it only names list elements
	}
	for _, e := range found.Entries {
		at := Error{Field: fieldOf(tree, e.Context), Why: reason(e)}
		if e.Kind == report.Error {
			errs = append(errs, at)
		} else if e.Kind == report.Warn {
			warnings = append(warnings, at)
		}
	}
	if err != nil && len(errs) == 0 {
		errs.add(inConfig, "%v", err)
	}
	return config, warnings, errs
}

func checkVersion(raw []byte) Errors {
	var head struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
	}
	field := inConfig + ".ignition.version"
	if err := json.Unmarshal(raw, &head); err != nil {
		return Errors{{Field: field, Why: "is not a string"}}
	}
	switch v := head.Ignition.Version; v {
	case "3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0":
		return nil
	case "":
		return Errors{{Field: field, Why: `is missing: write "3.5.0"`}}
	default:
		why := "is not read by this version: 3.0.0 to 3.5.0 are"
		if !strings.HasPrefix(v, "2.") && !strings.HasPrefix(v, "3.") {
			why = "is not a version of Ignition: 3.0.0 to 3.5.0 are read"
		}
		return Errors{{Field: field, Why: why}}
	}
}

// fieldOf names list elements as a person finds them: by path or name, not by number.
func fieldOf(tree any, at path.ContextPath) string {
	var out strings.Builder
	out.WriteString(inConfig)
	for _, step := range at.Path {
		switch step := step.(type) {
		case string:
			object, _ := tree.(map[string]any)
			tree = object[step]
			out.WriteString("." + step)
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

func elementName(element any, index int) string {
	object, _ := element.(map[string]any)
	for _, key := range []string{"path", "name", "device"} {
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
		last, _ = steps[len(steps)-1].(string)
	}
	switch {
	case last == "source" && e.Kind == report.Error:
		return "is not a valid data: URL"
	case last == "contents" && e.Kind == report.Error:
		return "is not a valid unit file"
	}
	return e.Message
}
