package render

import (
	"slices"
	"testing"
)

func TestNoticesAreNewByWhatTheySay(t *testing.T) {
	before := []string{"a.yaml:3: spec.x: is not known", "b.yaml: stands twice"}
	for name, c := range map[string]struct{ after, want []string }{
		"nothing new":             {before, nil},
		"only lower in its file":  {[]string{"a.yaml:30: spec.x: is not known", "b.yaml: stands twice"}, nil},
		"in another file":         {[]string{"c.yaml:3: spec.x: is not known"}, []string{"c.yaml:3: spec.x: is not known"}},
		"a second time":           {[]string{"a.yaml:3: spec.x: is not known", "a.yaml:9: spec.x: is not known"}, []string{"a.yaml:9: spec.x: is not known"}},
		"something else in place": {[]string{"a.yaml:3: spec.y: is not known"}, []string{"a.yaml:3: spec.y: is not known"}},
		"taken away":              {nil, nil},
	} {
		if got := Added(before, c.after); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
