package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// inspect reads an archive back, says what it is, and finds what is wrong with it. It knows nothing
// of how it was made.
func (p product) inspect(archive string, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := unpack(archive, dir); err != nil {
		return err
	}
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return err
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) != 1 {
		return fmt.Errorf("it holds %d images, want one for all platforms", len(manifest.Manifests))
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	if err := validate.Index(index); err != nil {
		return err
	}
	info, err := os.Stat(archive)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s  %s  %s\n", filepath.Base(archive), manifest.Manifests[0].Digest, mebibytes(info.Size()))
	platforms, err := index.IndexManifest()
	if err != nil {
		return err
	}
	var found []string
	for _, m := range platforms.Manifests {
		img, err := index.Image(m.Digest)
		if err != nil {
			return err
		}
		found = append(found, m.Platform.Architecture)
		if err := p.check(img, m.Platform.Architecture, stdout); err != nil {
			return fmt.Errorf("%s: %w", m.Platform, err)
		}
	}
	if !slices.Equal(found, architectures) {
		return fmt.Errorf("it is for %v, want %v", found, architectures)
	}
	return nil
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func unpack(archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	r := tar.NewReader(file)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(at, data, 0o644); err != nil {
			return err
		}
	}
}

// check holds the image of one architecture against what it should be.
func (p product) check(img v1.Image, arch string, stdout io.Writer) error {
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "  %s/%s  %s  user %s, entrypoint %s\n", config.OS, config.Architecture, digest, config.Config.User, strings.Join(config.Config.Entrypoint, " "))
	switch {
	case config.OS != "linux" || config.Architecture != arch:
		return fmt.Errorf("it says that it is for %s/%s", config.OS, config.Architecture)
	case config.Config.User != user:
		return fmt.Errorf("its user is %q, want %s: the controller must not be root", config.Config.User, user)
	case !slices.Equal(config.Config.Entrypoint, []string{"/sluice"}) || len(config.Config.Cmd) > 0:
		return fmt.Errorf("it starts %q %q, want /sluice", config.Config.Entrypoint, config.Config.Cmd)
	case !reflect.DeepEqual(config.Config.Labels, p.labels()):
		return fmt.Errorf("its labels are %v, want %v", config.Config.Labels, p.labels())
	case !config.Created.Equal(p.made):
		return fmt.Errorf("it was made at %s, want %s", config.Created, p.made)
	}
	found, err := p.files(img, arch, stdout)
	if err != nil {
		return err
	}
	want := []string{"sluice", "sluice-agent"}
	for _, c := range furniture() {
		want = append(want, c.path)
	}
	slices.Sort(want)
	if have := slices.Sorted(maps.Keys(found)); !slices.Equal(have, want) {
		return fmt.Errorf("it holds %v, want %v", have, want)
	}
	return nil
}

// files lists what the layers hold, and finds fault with each file.
func (p product) files(img v1.Image, arch string, stdout io.Writer) (map[string]bool, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, layer := range layers {
		plain, err := layer.Uncompressed()
		if err != nil {
			return nil, err
		}
		defer plain.Close()
		r := tar.NewReader(plain)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			data, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(stdout, "    %s %d:%d %10d /%s\n", h.FileInfo().Mode(), h.Uid, h.Gid, h.Size, h.Name)
			if found[h.Name] {
				return nil, fmt.Errorf("/%s stands twice", h.Name)
			}
			found[h.Name] = true
			if err := p.file(h, data, arch); err != nil {
				return nil, fmt.Errorf("/%s: %w", h.Name, err)
			}
		}
	}
	return found, nil
}

func (p product) file(h *tar.Header, data []byte, arch string) error {
	switch {
	case h.Uid != 0 || h.Gid != 0:
		return fmt.Errorf("belongs to %d:%d, want root: who runs it must not change it", h.Uid, h.Gid)
	case !h.ModTime.Equal(p.made):
		return fmt.Errorf("is from %s, want %s: the next image would be another", h.ModTime.UTC(), p.made)
	case h.Mode&0o6000 != 0:
		return fmt.Errorf("has mode %o: nothing may take another's rights", h.Mode)
	case h.Mode&0o022 != 0 && h.Name != "tmp/":
		return fmt.Errorf("has mode %o: only root may write it", h.Mode)
	case h.Typeflag == tar.TypeReg && h.Size == 0:
		return errors.New("is empty")
	case !slices.Contains(programs, h.Name):
		return nil
	case h.Mode != 0o555:
		return fmt.Errorf("has mode %o, want 555", h.Mode)
	}
	if err := static(data, arch); err != nil {
		return err
	}
	if h.Name == "sluice" && arch == runtime.GOARCH && runtime.GOOS == "linux" {
		return p.speaks(data)
	}
	return nil
}

// static says that a program runs where there is nothing else.
func static(data []byte, arch string) error {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		return fmt.Errorf("is for %s, want %s", f.Machine, want)
	}
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_INTERP || prog.Type == elf.PT_DYNAMIC {
			return errors.New("wants a dynamic linker, which is not there: build it with CGO_ENABLED=0")
		}
	}
	return nil
}

// speaks runs the program of this machine's kind: it must know its version.
func (p product) speaks(data []byte) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	at := filepath.Join(dir, "sluice")
	if err := os.WriteFile(at, data, 0o755); err != nil {
		return err
	}
	cmd := exec.Command(at, "version")
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("does not run: %w", err)
	}
	if want := "sluice " + p.version; strings.TrimSpace(string(out)) != want {
		return fmt.Errorf("says that it is %q, want %q", out, want)
	}
	return nil
}
