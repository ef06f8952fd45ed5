package render_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-gitops/sluice/render"
)

const head = "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata: {name: %s, labels: {machineconfiguration.openshift.io/role: worker}}\n"

// machineConfig is a MachineConfig of one file.
func machineConfig(name, path, contents string) render.Document {
	body := fmt.Sprintf(head+"spec: {config: {ignition: {version: 3.2.0}, storage: {files: [{path: %s, contents: {%s}}]}}}\n", name, path, contents)
	return render.Document{File: name + ".yaml", Line: 1, Body: []byte(body)}
}

func pools(docs ...render.Document) (render.Result, error) {
	return render.Pools([]render.Build{{Dir: ".", Documents: docs}})
}

// A node compares by content: how the content was written is no change.
func TestTheSameContentHasTheSameDigest(t *testing.T) {
	text := "100% the same: \u2603\n"
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte(text)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	coded := base64.StdEncoding.EncodeToString
	plain := "source: 'data:," + url.PathEscape(text) + "'"
	other := machineConfig("20-other", "/etc/b", "source: 'data:,b'")
	want := digest(t, machineConfig("10-a", "/etc/a", plain), other)
	for name, docs := range map[string][]render.Document{
		"base64":                 {machineConfig("10-a", "/etc/a", "source: 'data:;base64,"+coded([]byte(text))+"'"), other},
		"a media type":           {machineConfig("10-a", "/etc/a", "source: 'data:text/plain;charset=utf-8;base64,"+coded([]byte(text))+"'"), other},
		"gzip":                   {machineConfig("10-a", "/etc/a", "compression: gzip, source: 'data:;base64,"+coded(packed.Bytes())+"'"), other},
		"lower case escapes":     {machineConfig("10-a", "/etc/a", strings.ToLower(plain)), other},
		"a renamed object":       {machineConfig("90-z", "/etc/a", plain), other},
		"another order of files": {other, machineConfig("10-a", "/etc/a", plain)},
		"both in one file":       {{File: "all.yaml", Body: slices.Concat(other.Body, []byte("---\n"), machineConfig("10-a", "/etc/a", plain).Body)}},
		"the mode that is implied": {{File: "a.yaml", Body: []byte(strings.ReplaceAll(string(machineConfig("10-a", "/etc/a", plain).Body),
			"path: /etc/a", "mode: 0644, overwrite: true, user: {name: root}, group: {id: 0}, path: /etc/a"))}, other},
		"Ignition 2": {{File: "a.yaml", Body: []byte(strings.NewReplacer("3.2.0", "2.2.0", "path:", "filesystem: root, path:").Replace(string(machineConfig("10-a", "/etc/a", plain).Body)))}, other},
	} {
		if got := digest(t, docs...); got != want {
			t.Errorf("%s: digest %s, want %s", name, got, want)
		}
	}
	if digest(t, machineConfig("10-a", "/etc/a", "source: 'data:,another'"), other) == want {
		t.Error("other contents have the same digest")
	}
}

func digest(t *testing.T, docs ...render.Document) string {
	t.Helper()
	result, err := pools(docs...)
	if err != nil || len(result.Pools) != 1 {
		t.Fatalf("%d pools, error %v", len(result.Pools), err)
	}
	return string(result.Pools[0].Target())
}

func TestForeignManifestsAreNamedOnce(t *testing.T) {
	docs := []render.Document{machineConfig("10-a", "/etc/a", "source: 'data:,a'")}
	for i := range 5000 {
		docs = append(docs, render.Document{File: fmt.Sprintf("apps/%d.yaml", i), Body: fmt.Appendf(nil, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\ndata: {a: b}\n", i)})
	}
	result, err := pools(docs...)
	if want := []string{"ConfigMap: 5000 documents passed over, not a kind of node configuration"}; err != nil || !slices.Equal(result.Notices, want) {
		t.Errorf("notices %q, error %v, want %q", result.Notices, err, want)
	}
}

func TestATemplateThatIsNoYAMLIsNamed(t *testing.T) {
	_, err := pools(render.Document{File: "t.yaml", Line: 1, Body: []byte("# comment\n---\nkind: MachineConfig\nmetadata:\n  name: {{ .Name }}\n  {{- if .Hunter2 }}\n  x: y\n  {{- end }}\n")})
	var found render.Errors
	if !errors.As(err, &found) || found[0].File != "t.yaml" || !strings.Contains(err.Error(), "looks like a template: render it first") {
		t.Errorf("error %v, want one that names t.yaml as a template", err)
	}
}

func TestTheSizeOfAPoolIsHeldToWhatFits(t *testing.T) {
	file := func(size int) render.Document {
		return machineConfig("10-a", "/etc/a", "source: 'data:,"+strings.Repeat("x", size)+"'")
	}
	for _, c := range []struct {
		size         int
		notice, fail bool
	}{{1_200_000, false, false}, {1_300_000, true, false}, {1_572_000, true, false}, {1_573_000, false, true}} {
		result, err := pools(file(c.size))
		noticed := len(result.Notices) == 1 && strings.Contains(result.Notices[0], "more than 80 % of the 1572864 that fit")
		if noticed != c.notice || (err != nil) != c.fail || err != nil && !strings.Contains(err.Error(), "1572864 are the most that fit") {
			t.Errorf("%d bytes: notices %q, error %v", c.size, result.Notices, err)
		}
	}
}

// A few bytes of gzip must not become more than the agents of the pool have memory for.
func TestWhatAPoolUnpacksToIsHeldToWhatAgentsTake(t *testing.T) {
	file := func(size int) render.Document {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(make([]byte, size))
		w.Close()
		source := base64.StdEncoding.EncodeToString(packed.Bytes())
		return machineConfig("10-a", "/etc/a", "compression: gzip, source: 'data:;base64,"+source+"'")
	}
	result, err := pools(file(11 << 20))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(result.Pools[0].Config.Files[0].Contents); n != 11<<20 {
		t.Errorf("the file holds %d bytes", n)
	}
	_, err = pools(file(13 << 20))
	if err == nil || !strings.Contains(err.Error(), "pool worker unpacks to ") || !strings.Contains(err.Error(), "16777216 are the most that an agent takes") {
		t.Errorf("it says %v", err)
	}
}

// What is read of a repository may be secret, and what is said of it ends up in a pull request.
func TestMistakesAndNoticesNeverQuoteContents(t *testing.T) {
	const secret = "hunter2"
	file := func(f string) string {
		return fmt.Sprintf(head, "x") + "spec: {config: {ignition: {version: 3.2.0}, storage: {files: [{path: /a, " + f + "}]}}}\n"
	}
	spec := func(s string) string { return fmt.Sprintf(head, "x") + "spec: {" + s + "}\n" }
	ignition := func(s string) string { return spec("config: {ignition: {version: 3.2.0}, " + s + "}") }
	for name, body := range map[string]string{
		"a URL":                        file("contents: {source: 'https://user:hunter2@example.com'}"),
		"no URL":                       file("contents: {source: 'hunter2'}"),
		"a short scheme":               file("contents: {source: 'hunter2:x'}"),
		"a damaged URL":                file("contents: {source: 'data:;base64,hunter2!'}"),
		"a damaged escape":             file("contents: {source: 'data:,hunter2%zz'}"),
		"no gzip":                      file("contents: {compression: gzip, source: 'data:,hunter2'}"),
		"another compression":          file("contents: {compression: hunter2, source: 'data:,x'}"),
		"another hash":                 file("contents: {source: 'data:,hunter2', verification: {hash: sha512-hunter2}}"),
		"contents as a string":         file("contents: hunter2"),
		"contents as a list":           file("contents: [hunter2]"),
		"a mode":                       file("mode: hunter2"),
		"an owner":                     file("user: hunter2"),
		"an id":                        file("user: {id: hunter2}"),
		"a unit":                       ignition(`systemd: {units: [{name: a.service, contents: "[hunter2"}]}`),
		"a drop-in":                    ignition(`systemd: {units: [{name: a.service, dropins: [{name: a.conf, contents: "[x]\nhunter2"}]}]}`),
		"a unit as a list":             ignition(`systemd: {units: [{name: a.service, contents: [hunter2]}]}`),
		"keys as a string":             ignition(`passwd: {users: [{name: core, sshAuthorizedKeys: hunter2}]}`),
		"a password as a list":         ignition(`passwd: {users: [{name: core, passwordHash: [hunter2]}]}`),
		"a LUKS key":                   ignition(`storage: {luks: [{name: x, device: /dev/x, keyFile: {source: 'data:;base64,hunter2!'}}]}`),
		"a LUKS key elsewhere":         ignition(`storage: {luks: [{name: x, device: /dev/x, keyFile: {source: 'hunter2://x'}}]}`),
		"a proxy":                      spec(`config: {ignition: {version: 3.2.0, proxy: {httpProxy: 'ftp://hunter2'}}}`),
		"a version":                    spec(`config: {ignition: {version: hunter2}}`),
		"no Ignition config":           spec(`config: hunter2`),
		"kernel arguments as a string": spec(`kernelArguments: hunter2`),
		"an alias without anchor":      spec(`config: *hunter2`),
		"a map as a key":               spec(`config: {{hunter2: x}: y}`),
		"a list as a key":              "[hunter2]: x\n",
		"a value that fits no tag":     spec("fips: !!int hunter2"),
		"an anchor in itself":          "a: &hunter2 [*hunter2]\n",
		"no YAML":                      "a: 'hunter2\nb: \"x\n\tc",
		"Ignition 2 as a string":       spec(`config: {ignition: {version: 2.2.0}, storage: {files: [{filesystem: root, path: /a, contents: hunter2}]}}`),
		"networkd":                     spec(`config: {ignition: {version: 2.2.0}, networkd: {units: [{name: a, contents: hunter2}]}}`),
		"another user":                 spec(`config: {ignition: {version: 2.2.0}, passwd: {users: [{name: a, passwordHash: hunter2}]}}`),
		"a pool":                       "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfigPool\nmetadata: {name: x}\nspec: {paused: hunter2}\n",
	} {
		t.Run(name, func(t *testing.T) {
			result, err := pools(render.Document{File: "x.yaml", Line: 1, Body: []byte(body)})
			if err == nil {
				t.Fatalf("no mistake, notices %q", result.Notices)
			}
			if text := err.Error() + strings.Join(result.Notices, "\n"); strings.Contains(text, secret) {
				t.Errorf("quotes contents: %s", text)
			}
		})
	}
}

// FuzzPools holds for any document: no panic, every mistake names its file and a line of it, and
// two runs say the same.
func FuzzPools(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(head, "x")+"spec: {config: {ignition: {version: 3.2.0}, storage: {files: [{path: /a, mode: '0644', contents: {source: 'data:,x'}}]}}}\n"), 1)
	f.Add([]byte("kind: List\nitems:\n- apiVersion: machineconfiguration.openshift.io/v1\n  kind: MachineConfigPool\n  metadata: {name: x}\n  spec: {machineConfigSelector: {}}\n---\n"+fmt.Sprintf(head, "y")+"spec: {fips: 1}\n"), 3)
	f.Add([]byte(`{"apiVersion":"sluice.dev/v1alpha1","kind":"RolloutPolicy","metadata":{"name":"x"},"spec":{"windows":[{}]}}`), 0)
	f.Add([]byte("a: &a [*a]\n--- {{ x }}\n..."), 1)
	f.Fuzz(func(t *testing.T, body []byte, line int) {
		doc := render.Document{File: "x.yaml", Line: max(0, line%1000), Body: body}
		first, err := pools(doc)
		again, err2 := pools(doc)
		if fmt.Sprint(err) != fmt.Sprint(err2) || !slices.Equal(first.Notices, again.Notices) || len(first.Pools) != len(again.Pools) {
			t.Fatalf("two runs differ: %v and %v, %q and %q", err, err2, first.Notices, again.Notices)
		}
		for i, p := range first.Pools {
			if p.Target() != again.Pools[i].Target() {
				t.Fatalf("pool %s has two digests", p.Name)
			}
		}
		var found render.Errors
		if err != nil && !errors.As(err, &found) {
			t.Fatalf("error %v is not the author's", err)
		}
		lines := bytes.Count(body, []byte("\n")) + bytes.Count(body, []byte("\r")) // either ends a line of YAML
		for _, e := range found {
			if e.File == "" || e.Line != 0 && (e.Line < doc.Line || e.Line > doc.Line+1+lines) {
				t.Errorf("%+v is not in a document of %d lines from line %d", e, lines, doc.Line)
			}
		}
	})
}
