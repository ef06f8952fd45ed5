package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// product is what an image is made of.
type product struct {
	binaries          string // a folder
	version, revision string
	made              time.Time
}

var (
	architectures = []string{"amd64", "arm64"}
	programs      = []string{"sluice", "sluice-agent"}
)

func (p product) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "Sluice",
		"org.opencontainers.image.description": "From a Git repository to the machine configuration of a fleet of Linux nodes",
		"org.opencontainers.image.source":      "https://github.com/sluice-gitops/sluice",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     p.version,
		"org.opencontainers.image.revision":    p.revision,
		"org.opencontainers.image.created":     p.made.Format(time.RFC3339),
	}
}

// image is that of one architecture: a layer for the furniture, and one for each program.
func (p product) image(arch string) (v1.Image, error) {
	layers := [][]content{furniture()}
	for _, name := range programs {
		data, err := os.ReadFile(filepath.Join(p.binaries, arch, name))
		if err != nil {
			return nil, err
		}
		layers = append(layers, []content{{name, 0o555, data}})
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Created = arch, "linux", v1.Time{Time: p.made}
	config.Config = v1.Config{User: user, Entrypoint: []string{"/sluice"}, WorkingDir: "/", Env: []string{"PATH=/"}, Labels: p.labels()}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	for _, all := range layers {
		packed, err := pack(all, p.made)
		if err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil }, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: p.made}, CreatedBy: "tools/image", Comment: all[len(all)-1].path}})
		if err != nil {
			return nil, err
		}
	}
	return img, nil
}

// write makes the archive.
func (p product) write(out string) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var legacy []loadable
	for _, arch := range architectures {
		img, err := p.image(arch)
		if err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
		l, err := p.loadable(img, arch)
		if err != nil {
			return err
		}
		legacy = append(legacy, l)
	}
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := at.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": p.version})); err != nil {
		return err
	}
	manifest, err := json.MarshalIndent(legacy, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), manifest, 0o644); err != nil {
		return err
	}
	return p.archive(dir, out)
}

// loadable is an image as docker load finds it, by a tag for each architecture.
type loadable struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (p product) loadable(img v1.Image, arch string) (l loadable, err error) {
	m, err := img.Manifest()
	if err != nil {
		return l, err
	}
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	l = loadable{Config: blob(m.Config.Digest), RepoTags: []string{"sluice:" + p.version + "-" + arch}}
	for _, layer := range m.Layers {
		l.Layers = append(l.Layers, blob(layer.Digest))
	}
	return l, nil
}

// archive packs a folder, by name.
func (p product) archive(dir, out string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(out), ".image-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // or it has its name by then
	defer file.Close()
	w := tar.NewWriter(file)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // sorted
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(data)), ModTime: p.made}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	return os.Rename(file.Name(), out)
}
