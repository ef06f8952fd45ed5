package render_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-gitops/sluice/policy"
	"github.com/sluice-gitops/sluice/render"
)

var schema = flag.Bool("schema", false, "write docs/rolloutpolicy.schema.json anew")

const (
	policyDoc    = "../docs/rolloutpolicy.md"
	policySchema = "../docs/rolloutpolicy.schema.json"
)

// field is one field of a RolloutPolicy, as its page in the docs tells of it.
type field struct{ kind, fallback, text string }

var row = regexp.MustCompile("(?m)^\\| `([a-zA-Z.\\[\\]]+)` \\| ([^|]+) \\| ([^|]+) \\| (.+) \\|$")

// TestEveryFieldIsDocumented holds the page of a RolloutPolicy, its schema and its Go types against
// one another, so that none of them can be forgotten.
func TestEveryFieldIsDocumented(t *testing.T) {
	page, err := os.ReadFile(policyDoc)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]field{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		told[m[1]] = field{m[2], m[3], m[4]}
	}
	typed := map[string]string{"pools": "list of strings"} // which render takes out of the spec
	kinds(typed, "", reflect.TypeFor[policy.Rollout]())
	for path, kind := range typed {
		switch got := told[path].kind; {
		case got == "":
			t.Errorf("%s is not documented", path)
		case got != kind && !(kind == "string" && (got == "duration" || got == "limit")):
			t.Errorf("%s is documented as %s, and is %s", path, got, kind)
		}
	}
	for path := range told {
		if typed[path] == "" {
			t.Errorf("%s is documented, and is no field", path)
		}
	}
	made := documentSchema(told)
	if *schema {
		if err := os.WriteFile(policySchema, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(policySchema)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(kept), string(made)); diff != "" {
		t.Errorf("the schema is not what the types and their page say; write it with go test ./render -run Documented -schema:\n%s", diff)
	}
}

// kinds notes the type of every field, in the words of the page.
func kinds(into map[string]string, at string, typ reflect.Type) {
	for _, f := range reflect.VisibleFields(typ) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" {
			continue
		}
		path, inner := at+name, f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case inner == reflect.TypeFor[time.Time]():
			into[path] = "time"
		case inner.Kind() == reflect.Struct:
			into[path] = "object"
			kinds(into, path+".", inner)
		case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
			into[path] = "list"
			kinds(into, path+"[].", inner.Elem())
		default:
			into[path] = map[reflect.Kind]string{
				reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Slice: "list of strings", reflect.Map: "map of strings",
			}[inner.Kind()]
		}
	}
}

// words are the fields that take one of a few words.
var words = map[string][]string{
	"overrun": {"deny", "allow"}, "order.zones": {"order", "barrier"}, "failureBudget.action": {"halt", "rollback"},
	"drain.onTimeout": {"halt", "skipNode", "force"}, "drain.pods[].action": {"evict", "skip", "wait", "block"},
	"impact[].actions[].kind": {"none", "reload", "restart", "drain", "reboot"},
}

type object = map[string]any

func documentSchema(told map[string]field) []byte {
	spec := object{"type": "object", "additionalProperties": false, "properties": object{}}
	for _, path := range slices.Sorted(maps.Keys(told)) {
		at, f := spec, told[path]
		steps := strings.Split(path, ".")
		for _, step := range steps[:len(steps)-1] {
			name, list := strings.CutSuffix(step, "[]")
			at = at["properties"].(object)[name].(object)
			if list {
				at = at["items"].(object)
			}
		}
		name := steps[len(steps)-1]
		at["properties"].(object)[name] = fieldSchema(path, f)
		if f.fallback == "required" {
			required, _ := at["required"].([]string)
			at["required"] = append(required, name)
		}
	}
	gate := spec["properties"].(object)["health"].(object)["items"].(object)
	for _, one := range []string{"http", "alerts", "query", "nodes", "expression"} {
		list, _ := gate["oneOf"].([]object)
		gate["oneOf"] = append(list, object{"required": []string{one}})
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(object{ // of maps and strings alone
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "RolloutPolicy", "type": "object",
		"required": []string{"apiVersion", "kind", "metadata"}, "additionalProperties": false,
		"properties": object{
			"apiVersion": object{"const": "sluice.dev/v1alpha1"}, "kind": object{"const": "RolloutPolicy"},
			"metadata": object{"type": "object", "required": []string{"name"}, "properties": object{"name": object{"type": "string", "minLength": 1}}},
			"spec":     spec,
		},
	})
	return out.Bytes()
}

func fieldSchema(path string, f field) object {
	strs := object{"type": "string"}
	s := map[string]object{
		"string": {"type": "string"}, "boolean": {"type": "boolean"}, "integer": {"type": "integer", "minimum": 0},
		"time": {"type": "string", "format": "date-time"}, "list of strings": {"type": "array", "items": strs},
		"map of strings": {"type": "object", "additionalProperties": strs}, "limit": {"type": "string", "pattern": "^[0-9]+%?$"},
		"duration": {"type": "string", "pattern": `^[0-9.]+(ns|us|µs|ms|s|m|h)([0-9.]+(ns|us|µs|ms|s|m|h))*$`},
		"object":   {"type": "object", "additionalProperties": false, "properties": object{}},
		"list":     {"type": "array", "items": object{"type": "object", "additionalProperties": false, "properties": object{}}},
	}[f.kind]
	s["description"] = strings.ReplaceAll(f.text, "`", "")
	if list := words[path]; list != nil {
		s["enum"] = list
	}
	if path == "approvals.count" {
		s["minimum"] = 1
	}
	return s
}

// TestTheExampleOfThePageIsOne reads the policy that the page shows, with our reader and with the
// schema, and holds the two against each other on what is wrong.
func TestTheExampleOfThePageIsOne(t *testing.T) {
	page, err := os.ReadFile(policyDoc)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	kept, err := os.ReadFile(policySchema)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(kept))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.json", parsed); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	both := func(text string) (ours, theirs error) {
		_, ours = render.Rollout(render.Document{File: "p.yaml", Line: 1, Body: []byte(text)})
		encoded, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
		if err != nil {
			t.Fatal(err)
		}
		return ours, compiled.Validate(value)
	}
	if ours, theirs := both(example); ours != nil || theirs != nil {
		t.Errorf("the example of the page is refused: %v; by the schema: %v", ours, theirs)
	}
	r, err := render.Rollout(render.Document{File: "p.yaml", Body: []byte(example)})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[policy.Rollout]()) {
		if reflect.ValueOf(r).FieldByIndex(f.Index).IsZero() {
			t.Errorf("the example does not show %s", f.Name)
		}
	}
	for name, change := range map[string][2]string{
		"a field that is not known":         {"overrun:", "overruns:"},
		"a field that is not known, deeper": {"onTimeout:", "ontimeout:"},
		"a word that is none":               {"action: rollback", "action: panic"},
		"two questions at once":             {"nodes: Ready", "nodes: Ready, query: up"},
		"a duration that is none":           {"timeout: 20m", "timeout: soon"},
		"nobody's approval":                 {"count: 2", "count: 0"},
		"no action":                         {", action: wait", ""},
	} {
		text := strings.Replace(example, change[0], change[1], 1)
		if ours, theirs := both(text); text == example || ours == nil || theirs == nil {
			t.Errorf("%s: we say %v, the schema says %v", name, ours, theirs)
		}
	}
}
