// Package kustomize reads the builds of a fleet repository: overlays through kustomize, in memory
// and without any network, or plain YAML files. It alone imports kustomize.
package kustomize

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/render"
)

// Build reads what a tree yields: its root if that has a kustomization file, else one build for
// every pools/* that has one, else all YAML and JSON files of the tree as one build (hidden
// directories and kustomization files left out). Given paths, directories of the tree, are read
// instead, each as one build.
//
// Mistakes of the authors come back as render.Errors, all at once where that is cheap; any other
// error means that the tree could not be read. Nothing outside the tree is ever opened.
func Build(tree fs.FS, paths []string) ([]render.Build, error) {
	s := newScan(tree)
	dirs, err := s.builds(paths)
	if err != nil {
		return nil, err
	}
	var out []render.Build
	for _, dir := range dirs {
		var b render.Build
		if s.kustomizationIn(dir) != "" {
			b, err = s.overlay(dir)
		} else {
			b, err = s.directory(dir)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	if s.broken != nil {
		return nil, s.broken
	}
	if len(s.errs) > 0 {
		return nil, render.Sorted(s.errs)
	}
	return out, nil
}

func (s *scan) builds(paths []string) ([]string, error) {
	if len(paths) > 0 {
		return s.given(paths), nil
	}
	if s.kustomizationIn(".") != "" {
		return []string{"."}, nil
	}
	entries, err := fs.ReadDir(s.tree, "pools")
	if err != nil && !errors.Is(err, fs.ErrNotExist) && s.isDir("pools") {
		return nil, fmt.Errorf("read directory %q: %w", "pools", err)
	}
	var dirs []string
	for _, e := range entries {
		if dir := path.Join("pools", e.Name()); e.IsDir() && s.kustomizationIn(dir) != "" {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		return []string{"."}, nil
	}
	return dirs, nil
}

func (s *scan) given(paths []string) []string {
	var dirs []string
	for _, p := range paths {
		dir := path.Clean(strings.TrimSuffix(p, "/"))
		switch why := s.walkable(dir); {
		case why != "":
			s.fail(p, "paths", "%s", why)
		case !s.isDir(dir):
			s.fail(p, "paths", "is no directory of the repository")
		case slices.Contains(dirs, dir):
			s.fail(p, "paths", "is given twice")
		default:
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// directory is a build without a kustomization: the documents as they are written.
func (s *scan) directory(root string) (render.Build, error) {
	b := render.Build{Dir: root}
	err := fs.WalkDir(s.tree, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("read %q: %w", p, err)
		}
		if d.IsDir() {
			if p != root && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !isManifest(d.Name()) || slices.Contains(konfig.RecognizedKustomizationFileNames(), d.Name()) {
			return nil
		}
		if !s.load(p, p, "", true) {
			return nil
		}
		for _, doc := range manifest.Documents(s.files[p]) {
			b.Documents = append(b.Documents, render.Document{File: p, Body: doc})
		}
		return nil
	})
	return b, err
}

func isManifest(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return !strings.HasPrefix(name, ".")
	}
	return false
}
