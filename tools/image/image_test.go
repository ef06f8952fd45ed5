package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// The stand-ins for the programs are built once.
var built struct {
	sync.Once
	dir string
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(built.dir)
	os.Exit(code)
}

const speaking = "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(\"sluice v1\\n\") }\n"

// programsOf is a folder with a stand-in for each program, which says its version.
func programsOf(t *testing.T) (dir string) {
	t.Helper()
	built.Do(func() {
		var err error
		if built.dir, err = os.MkdirTemp("", "image-"); err != nil {
			t.Fatal(err)
		}
		for _, arch := range architectures {
			build(t, filepath.Join(built.dir, arch, programs[0]), "GOARCH="+arch)
			replace(t, filepath.Join(built.dir, arch, programs[0]), filepath.Join(built.dir, arch, programs[1]))
		}
	})
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(built.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// build makes a program that says its version.
func build(t *testing.T, out, env string, flags ...string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte(speaking), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), source)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", env)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, said)
	}
}

func productOf(binaries string) product {
	return product{binaries: binaries, version: "v1", revision: "0123456", made: time.Unix(1790000000, 0).UTC()}
}

func assembled(t *testing.T, p product) (file, said string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "image.tar")
	if err := p.write(file); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := p.inspect(file, &out); err != nil {
		t.Fatal(err)
	}
	return file, out.String()
}

// TestTheSameImageTwice makes it in another folder, of files of another age.
func TestTheSameImageTwice(t *testing.T) {
	binaries := programsOf(t)
	one, said := assembled(t, productOf(binaries))
	copied := programsOf(t)
	old := time.Unix(1, 0)
	if err := os.Chtimes(filepath.Join(copied, "amd64", "sluice"), old, old); err != nil {
		t.Fatal(err)
	}
	two, again := assembled(t, productOf(copied))
	first, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(two)
	if err != nil {
		t.Fatal(err)
	}
	if said != again || !bytes.Equal(first, second) {
		t.Errorf("the second is another:\n%s\n%s", said, again)
	}
	for _, word := range []string{"linux/amd64", "linux/arm64", "user 65532:65532, entrypoint /sluice", "-r-xr-xr-x 0:0", "/etc/ssl/certs/ca-certificates.crt"} {
		if !strings.Contains(said, word) {
			t.Errorf("the report does not say %q:\n%s", word, said)
		}
	}
	later := productOf(binaries)
	later.version = "v2"
	if err := later.write(filepath.Join(t.TempDir(), "image.tar")); err != nil {
		t.Fatal(err)
	}
	if err := later.inspect(one, io.Discard); err == nil {
		t.Error("an image of another version passes")
	}
}

// TestAWrongImageIsNotLetThrough puts something wrong in the place of a program.
func TestAWrongImageIsNotLetThrough(t *testing.T) {
	exe := func(p product, arch, name string) string { return filepath.Join(p.binaries, arch, name) }
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, p *product)
		want  string
	}{
		"a program that is linked at run time": {func(t *testing.T, p *product) { replace(t, dynamic(t), exe(*p, "amd64", "sluice-agent")) }, "wants a dynamic linker"},
		"a program for another machine":        {func(t *testing.T, p *product) { replace(t, exe(*p, "arm64", "sluice"), exe(*p, "amd64", "sluice")) }, "is for EM_AARCH64"},
		"a script":                             {func(t *testing.T, p *product) { replace(t, "main.go", exe(*p, "arm64", "sluice")) }, "bad magic number"},
		"a program of another version":         {func(_ *testing.T, p *product) { p.version = "v2" }, `says that it is "sluice v1\n", want "sluice v2"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := productOf(programsOf(t))
			tt.spoil(t, &p)
			file := filepath.Join(t.TempDir(), "image.tar")
			if err := p.write(file); err != nil {
				t.Fatal(err)
			}
			if err := p.inspect(file, io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("it is let through or not told apart: %v, want %q", err, tt.want)
			}
		})
	}
}

func replace(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// dynamic is a program of this machine that is linked when it starts.
func dynamic(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "shared")
	build(t, out, "GOARCH=amd64", "-buildmode=pie")
	return out
}

// TestTheDockerfileMakesTheSame holds the two ways to make the image against each other.
func TestTheDockerfileMakesTheSame(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	file := string(data)
	for _, line := range []string{"USER " + user, `ENTRYPOINT ["/sluice"]`, "ENV PATH=/", "WORKDIR /", "FROM scratch"} {
		if !strings.Contains(file, "\n"+line+"\n") {
			t.Errorf("the Dockerfile does not say %s", line)
		}
	}
	for key, value := range productOf("").labels() {
		if key == "org.opencontainers.image.created" { // an engine says that itself
			continue
		}
		if key == "org.opencontainers.image.version" || key == "org.opencontainers.image.revision" {
			value = ""
		} else {
			value = `"` + value + `"`
		}
		if !strings.Contains(file, key+"="+value) {
			t.Errorf("the Dockerfile does not set the label %s to %s", key, value)
		}
	}
	module, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (.+)$`).FindStringSubmatch(string(module))
	if version == nil || !strings.Contains(file, "golang:"+version[1]+" ") {
		t.Errorf("the Dockerfile builds with another Go than go.mod says, %v", version)
	}
}

// TestTheTreeForADockerfileIsTheFurniture writes it as an engine takes it up.
func TestTheTreeForADockerfileIsTheFurniture(t *testing.T) {
	dir := t.TempDir()
	if err := writeTree(dir); err != nil {
		t.Fatal(err)
	}
	for _, c := range furniture() {
		info, err := os.Stat(filepath.Join(dir, c.path))
		if err != nil {
			t.Fatal(err)
		}
		if sticky := info.Mode()&os.ModeSticky != 0; int64(info.Mode().Perm()) != c.mode&0o777 || sticky != (c.mode&0o1000 != 0) {
			t.Errorf("/%s has mode %v, want %o", c.path, info.Mode(), c.mode)
		}
	}
	roots, err := os.ReadFile(filepath.Join(dir, "etc/ssl/certs/ca-certificates.crt"))
	if n := bytes.Count(roots, []byte("BEGIN CERTIFICATE")); err != nil || n < 80 {
		t.Errorf("%d roots, %v", n, err)
	}
}
