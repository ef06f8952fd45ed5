package manifest

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vincent-petithory/dataurl"
)

var dataURLs = map[string]string{ // what is read of each
	"data:,":                                         "",
	"data:,plain":                                    "plain",
	"data:,a%20b%0Ac,d;e=f&g+h":                      "a b\nc,d;e=f&g+h",
	"data:;base64,aGk=":                              "hi",
	"data:;base64,":                                  "",
	"data:;base64,aG\nk=":                            "hi",
	"data:text/plain,x":                              "x",
	"data:text/plain;charset=utf-8,x":                "x",
	"data:text/plain;charset=utf-8;base64,aGk=":      "hi",
	"data:application/octet-stream;base64,/+8=":      "\xff\xef",
	"data:x-anything/at-all;base64,aGk=":             "hi",
	`data:text/plain;name="a, b; c";base64,aGk=`:     "hi",
	`data:text/plain;name="a \" b",x`:                "x",
	"data:text/plain;name=a%20b;charset=utf-8,x":     "x",
	"data:,%E2%98%83":                                "\u2603",
	"data:text/,x":                                   "x",
	"data:text/vnd.example+json;a=1;b=2;base64,aGk=": "hi",
}

func TestDataURLsAreReadAsIgnitionReadsThem(t *testing.T) {
	for source, want := range dataURLs {
		got, ok := dataURL(source)
		if !ok || string(got) != want {
			t.Errorf("%s: %q, %t, want %q", source, got, ok, want)
		}
		theirs, err := dataurl.DecodeString(source)
		if err != nil || string(theirs.Data) != want {
			t.Errorf("%s: the library of Ignition reads %+v, error %v", source, theirs, err)
		}
	}
	for _, source := range []string{
		"", "data:", "data", "DATA:,x", " data:,x", "data:;base64,a", "data:;base64,aGk=!", "data:;base64,aGk=\r", "data:,%", "data:,%2", "data:,%zz", "data:,a b",
		"data:,\u2603", "data:,\x00", "data:,\"", "data:plain,x", "data:font/woff,x", "data:;x,y", "data:;=x,y", "data:;x=,y", `data:;x="y,z`, `data:;x="",z`, `data:;x="\q",z`,
		"data:;base64;x=y,z", "data:;base64=x;base64", "data:text;base64,aGk=", "data:;a=%zz,x", `data:;x="☃",y`,
	} {
		if got, ok := dataURL(source); ok {
			t.Errorf("%q is read as %q", source, got)
		}
	}
}

// A data: URL that is damaged must not cost the controller a goroutine at each look.
func TestDamagedDataURLsLeaveNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, at := range []string{
		"storage: {files: [{path: /a, contents: {source: '%s'}}, {path: /b, append: [{source: '%s'}]}]}",
		"storage: {luks: [{name: a, device: /dev/a, keyFile: {source: '%s'}}]}",
		"ignition: {version: 3.5.0, config: {merge: [{source: '%s'}], replace: {source: '%s'}}, security: {tls: {certificateAuthorities: [{source: '%s'}]}}}",
	} {
		if !strings.HasPrefix(at, "ignition") {
			at = "ignition: {version: 3.5.0}, " + at
		}
		for _, damaged := range []string{"data:;base64,a", "data:,%zz", "DATA:,%zz", "data:;a=%zz;b=c,x", "Data:x"} {
			doc := head + "spec: {config: {" + strings.ReplaceAll(at, "%s", damaged) + "}}\n"
			if err := errorOf(doc); err == nil || strings.Count(err.Error(), "is not a valid data: URL") != strings.Count(at, "%s") {
				t.Errorf("%s: error %v", doc, err)
			}
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before { // those that end by themselves may need a moment
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

// FuzzDataURL holds that what we take, Ignition takes as the same bytes, so that its own reader
// never sees one that it would stumble over.
func FuzzDataURL(f *testing.F) {
	for source := range dataURLs {
		f.Add(source)
	}
	f.Add("data:;base64,a")
	f.Add(`data:;x="",z`)
	f.Fuzz(func(t *testing.T, source string) {
		got, ok := dataURL(source)
		if !ok {
			return
		}
		theirs, err := dataurl.DecodeString(source)
		if err != nil {
			t.Fatalf("%q is read as %q, but Ignition says %v", source, got, err)
		}
		if !bytes.Equal(got, theirs.Data) {
			t.Fatalf("%q is read as %q, but Ignition reads %q", source, got, theirs.Data)
		}
	})
}
