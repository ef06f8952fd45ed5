package manifest

import (
	"strings"
	"testing"
)

func TestWhatAMappingInheritsGivesWayToItsOwn(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"below it", "a: &a {x: 1, yy: 2}\nb:\n  <<: *a\n  yy: 3\n", `{"a":{"x":1,"yy":2},"b":{"x":1,"yy":3}}`},
		{"above it", "a: &a {x: 1, yy: 2}\nb:\n  yy: 3\n  <<: *a\n", `{"a":{"x":1,"yy":2},"b":{"x":1,"yy":3}}`},
		{"the first of several", "a: &a {x: 1}\nb: &b {x: 2, yy: 2}\nc: {<<: [*a, *b], z: 3}\n", `{"a":{"x":1},"b":{"x":2,"yy":2},"c":{"x":1,"yy":2,"z":3}}`},
		{"over generations", "a: &a {x: 1, yy: 1}\nb: &b {<<: *a, yy: 2}\nc: {<<: *b, x: 3}\n", `{"a":{"x":1,"yy":1},"b":{"x":1,"yy":2},"c":{"x":3,"yy":2}}`},
		{"with nothing to override", "a: &a {x: 0644}\nb: {<<: *a, yy: yes}\n", `{"a":{"x":420},"b":{"x":420,"yy":true}}`},
		{"as other documents write values", "a: &a {x: 0644, m: 1}\nb: {<<: *a, m: 0600, yy: yes}\n", `{"a":{"m":1,"x":420},"b":{"m":384,"x":420,"yy":true}}`},
		{"a text that looks like it", "a: x\nb: 'a <<: b'\n", `{"a":"x","b":"a \u003c\u003c: b"}`},
		{"a key that stands twice", "a: &a {x: 1}\nb: {<<: *a, x: 2, yy: 3, yy: 4}\n", `key "yy" already set in map`},
		{"a key that stands twice, elsewhere", "a: &a {x: 1}\nb: {<<: *a}\nb: 7\n", `key "b" already set in map`},
		{"what is no mapping", "a: &a [1]\nb: {<<: *a, x: 1}\n", "map merge requires map or sequence of maps as the value"},
		{"itself", "a: &a {<<: *a, x: 1}\n", "an anchor holds itself"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := FromYAML([]byte(c.doc))
			if err != nil {
				got = []byte(err.Error())
			}
			if err == nil && string(got) != c.want || err != nil && !strings.HasSuffix(string(got), c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// What asks for the same in any merge is the same, in whatever encoding.
func TestSame(t *testing.T) {
	doc := func(spec string) string {
		return head + "spec:\n  config: {ignition: {version: 3.4.0}, storage: {files: [" + spec + "]}}\n"
	}
	for _, c := range []struct {
		name, a, b string
		want       bool
	}{
		{"another encoding", doc("{path: /a, contents: {source: 'data:,hi'}}"), doc("{path: /a, contents: {source: 'data:;base64,aGk='}}"), true},
		{"other contents", doc("{path: /a, contents: {source: 'data:,hi'}}"), doc("{path: /a, contents: {source: 'data:,ho'}}"), false},
		{"none, which leaves those before, and empty ones", doc("{path: /a}"), doc("{path: /a, contents: {source: 'data:,'}}"), false},
		{"no mode, which leaves that before, and the default", doc("{path: /a}"), doc("{path: /a, mode: 420}"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Parse([]byte(c.a))
			if err != nil {
				t.Fatal(err)
			}
			b, err := Parse([]byte(c.b))
			if err != nil {
				t.Fatal(err)
			}
			if got := Same(a, b); got != c.want {
				t.Errorf("same: %v, want %v", got, c.want)
			}
		})
	}
}
