// Package butane reads Butane, the form in which people write node configuration by hand, as the
// MachineConfig that it stands for. It alone imports the butane library.
package butane

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/butane/config"
	"github.com/coreos/butane/config/common"
	"github.com/coreos/vcontext/report"
	"go.yaml.in/yaml/v3"

	"github.com/sluice-gitops/sluice/machine/manifest"
)

// MachineConfig gives the MachineConfig that the Butane of a file stands for, as YAML or JSON. Of
// the variant openshift it is the one that butane writes; the other variants (fcos, flatcar, r4e,
// fiot) know no name and no labels, so it is named as the file, without .bu, and has no role: it
// belongs to the pool of its build.
//
// The warnings are those of butane and no reason to stop. The error joins all mistakes of the
// author, each with its field and line, and never holds contents: they may be secret. Nothing but
// the source is read: what refers to another file, or to an address, is a mistake.
func MachineConfig(name string, source []byte) (encoded []byte, warnings []string, err error) {
	defer func() {
		if p := recover(); p != nil { // the libraries below parse what strangers wrote
			encoded, warnings, err = nil, nil, errors.New("is no Butane: it cannot be made sense of")
		}
	}()
	if err := self(source); err != nil {
		return nil, nil, err
	}
	translated, said, err := config.TranslateBytes(source, common.TranslateBytesOptions{})
	var wrong []error
	slices.SortFunc(said.Entries, inOrder)
	for _, e := range said.Entries {
		if one := words(e); e.Kind.IsFatal() {
			wrong = append(wrong, one)
		} else {
			warnings = append(warnings, one.Error())
		}
	}
	if len(wrong) == 0 && err != nil {
		wrong = mistakes(err.Error())
	}
	if len(wrong) > 0 {
		return nil, nil, errors.Join(wrong...)
	}
	if !json.Valid(translated) { // the variant openshift gives YAML, all others Ignition, as JSON
		return translated, warnings, nil
	}
	encoded, err = wrap(strings.TrimSuffix(path.Base(name), ".bu"), translated)
	return encoded, warnings, err
}

// Error is one mistake of an author.
type Error struct {
	Field string // of the Butane
	Line  int    // 0 where it is not known
	Why   string
}

// Where takes the error apart for whoever does not know this package.
func (e Error) Where() (field string, line int, why string) { return e.Field, e.Line, e.Why }

func (e Error) Error() string {
	switch {
	case e.Line > 0 && e.Field != "":
		return fmt.Sprintf("%s (line %d): %s", e.Field, e.Line, e.Why)
	case e.Line > 0:
		return fmt.Sprintf("line %d: %s", e.Line, e.Why)
	case e.Field != "":
		return e.Field + ": " + e.Why
	}
	return e.Why
}

func wrap(name string, ignition []byte) ([]byte, error) {
	if name == "" {
		return nil, errors.New("has no name that its MachineConfig could have: name the file NAME.bu")
	}
	return json.Marshal(map[string]any{
		"apiVersion": manifest.APIVersion,
		"kind":       manifest.Kind,
		"metadata":   map[string]any{"name": name},
		"spec":       map[string]any{"config": json.RawMessage(ignition)},
	})
}

// self says what is not in the source itself.
func self(source []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(source))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return errors.New("is empty: write variant and version")
	case err != nil:
		return errors.New("is no YAML: " + plain(err.Error()))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("holds more than one YAML document: write a file for each")
	}
	var wrong []error
	say := func(line int, field, why string) { wrong = append(wrong, Error{field, line, why}) }
	kind(&doc, say)
	elsewhere(&doc, "", 0, say)
	return errors.Join(wrong...)
}

var release = regexp.MustCompile(`^\d+\.\d+\.\d+(-[a-z]+)?$`)

// kind says what is wrong with the two fields that say what a document is.
func kind(doc *yaml.Node, say func(line int, field, why string)) {
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		say(doc.Line, "", "is no mapping: write variant and version")
		return
	}
	found := map[string]*yaml.Node{}
	for i := 0; i+1 < len(doc.Content[0].Content); i += 2 {
		found[doc.Content[0].Content[i].Value] = doc.Content[0].Content[i+1]
	}
	if found["variant"] == nil && found["apiVersion"] != nil {
		say(doc.Content[0].Line, "variant", "is missing, as this is a Kubernetes object and no Butane: name the file .yaml")
		return
	}
	if found["variant"] == nil {
		say(doc.Content[0].Line, "variant", "is missing: write openshift, or fcos")
	}
	const example = "write all three numbers, such as 4.14.0 for openshift or 1.5.0 for fcos"
	switch version := found["version"]; {
	case version == nil:
		say(doc.Content[0].Line, "version", "is missing: "+example)
	case version.Kind == yaml.ScalarNode && !release.MatchString(version.Value):
		say(version.Line, "version", "is no version of Butane: "+example)
	}
}

const maxDepth = 100 // levels; Butane has less than 15

// elsewhere finds the fields that name another file or an address.
func elsewhere(n *yaml.Node, field string, depth int, say func(line int, field, why string)) {
	if depth > maxDepth {
		say(n.Line, field[:min(len(field), 80)], fmt.Sprintf("is nested deeper than %d levels", maxDepth))
		return
	}
	for i, child := range n.Content {
		switch n.Kind {
		case yaml.MappingNode:
			if i%2 == 0 {
				continue
			}
			key, at := n.Content[i-1], strings.TrimPrefix(field+"."+n.Content[i-1].Value, ".")
			switch key.Value {
			case "local", "contents_local", "ssh_authorized_keys_local", "trees":
				say(key.Line, at, "files beside it are not read: write the contents inline")
			case "source":
				if child.Alias != nil {
					child = child.Alias
				}
				if scheme, _, found := strings.Cut(child.Value, ":"); found && !strings.EqualFold(scheme, "data") {
					say(key.Line, at, "nothing is fetched: write the contents inline")
				}
			default:
				elsewhere(child, at, depth+1, say)
			}
		case yaml.SequenceNode:
			elsewhere(child, fmt.Sprintf("%s[%d]", field, i), depth+1, say)
		default:
			elsewhere(child, field, depth+1, say)
		}
	}
}

// inOrder sorts a report by line, field and words: butane goes over maps.
func inOrder(a, b report.Entry) int {
	x, y := words(a), words(b)
	return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Field, y.Field), cmp.Compare(x.Why, y.Why))
}

// words are an entry of butane's report.
func words(e report.Entry) Error {
	field := ""
	for _, step := range e.Context.Path {
		switch s := step.(type) {
		case int:
			field += fmt.Sprintf("[%d]", s)
		case string:
			field += "." + s
		}
	}
	out := Error{Field: strings.TrimPrefix(field, "."), Why: plain(e.Message)}
	if p := e.Marker.StartP; p != nil {
		out.Line = int(p.Line)
	}
	return out
}

// mistakes are all that butane says where it stops before it has a report: for values of a wrong
// type it is a line of text for each.
func mistakes(text string) (wrong []error) {
	for line := range strings.Lines(text) {
		one := Error{Why: plain(line)}
		if rest, found := strings.CutPrefix(one.Why, "line "); found {
			number, words, _ := strings.Cut(rest, ": ")
			if n, err := strconv.Atoi(number); err == nil {
				one.Line, one.Why = n, words
			}
		}
		if m := mistyped.FindStringSubmatch(one.Why); m != nil {
			one.Why = "is of type " + tags[m[1]] + ", expected " + expected(m[2])
		}
		if strings.HasPrefix(one.Why, "No translator exists") {
			one = Error{Field: "variant", Why: "is not known in this version: check variant and version"}
		}
		if one.Why != "" && !strings.HasSuffix(one.Why, "unmarshal errors:") {
			wrong = append(wrong, one)
		}
	}
	return wrong
}

var mistyped = regexp.MustCompile(`^cannot unmarshal !!(\w+) (?:a value )?into (\S+)$`)

var tags = map[string]string{"str": "string", "int": "number", "float": "number", "bool": "bool", "map": "object", "seq": "array", "null": "null"}

// expected is what a type of the library is to an author.
func expected(goType string) string {
	switch goType = strings.TrimLeft(goType, "*"); {
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case goType == "string":
		return "a string"
	case goType == "bool":
		return "true or false"
	case strings.HasPrefix(goType, "int"):
		return "a number, without quotes"
	}
	return "an object"
}

var quoted = regexp.MustCompile("`[^`]*`")

// plain makes what a library says one line without the values that it quotes.
func plain(text string) string {
	text = quoted.ReplaceAllString(text, "a value")
	text = strings.Join(strings.Fields(text), " ")
	for _, begin := range []string{"Error unmarshaling yaml: ", "yaml: ", "unmarshal errors: "} {
		text = strings.TrimPrefix(text, begin)
	}
	return text
}
