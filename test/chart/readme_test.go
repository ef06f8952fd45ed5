package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestReadme holds the table of values to values.yaml and its comments.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all yaml.Node
	if err := yaml.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	table := "| value | default | |\n|---|---|---|\n"
	pairs(all.Content[0], func(key, value *yaml.Node) {
		if value.Kind != yaml.MappingNode || len(value.Content) == 0 {
			table += row(t, key.Value, key, value)
			return
		}
		pairs(value, func(below, value *yaml.Node) { table += row(t, key.Value+"."+below.Value, below, value) })
	})
	path := filepath.Join(folder, "README.md")
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- values: go test ./test/chart -update -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(string(readme), begin)
	has, after, whole := strings.Cut(rest, end)
	if !ok || !whole {
		t.Fatal("there is no place for the table")
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if has != table {
		t.Errorf("the table of values is another: go test ./test/chart -update\n%s", difference(has, table))
	}
}

func pairs(of *yaml.Node, do func(key, value *yaml.Node)) {
	for i := 0; i < len(of.Content); i += 2 {
		do(of.Content[i], of.Content[i+1])
	}
}

func row(t *testing.T, path string, key, value *yaml.Node) string {
	t.Helper()
	var plain any
	if err := value.Decode(&plain); err != nil {
		t.Fatal(err)
	}
	short, err := json.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, comment := range []string{key.HeadComment, value.LineComment, key.LineComment} {
		for line := range strings.Lines(comment) {
			words = append(words, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#")))
		}
	}
	says := strings.ReplaceAll(strings.TrimSpace(strings.Join(words, " ")), "|", `\|`)
	return fmt.Sprintf("| `%s` | `%s` | %s |\n", path, short, says)
}
