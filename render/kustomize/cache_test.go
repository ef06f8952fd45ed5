package kustomize

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/sluice-gitops/sluice/render"
)

// hashing is a tree that knows its contents by name, as one in Git does, and counts what is read.
type hashing struct {
	fstest.MapFS
	read map[string]int
}

func (h hashing) Open(name string) (fs.File, error) {
	h.read[name]++
	return h.MapFS.Open(name)
}

func (h hashing) Hash(name string) (string, error) {
	info, err := h.Stat(name)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return "tree:", nil
	}
	return fmt.Sprintf("blob:%x", sha256.Sum256(h.MapFS[name].Data)), nil
}

func fleet() fstest.MapFS {
	return repo(
		"base/kustomization.yaml", "resources: [m.yaml]", "base/m.yaml", machineConfig("m", "/etc/m"),
		"pools/a/kustomization.yaml", "resources: [../../base, a.yaml]", "pools/a/a.yaml", machineConfig("a", "/etc/a"),
		"pools/b/kustomization.yaml", "resources: [../../base, b.yaml]\nnamePrefix: b-", "pools/b/b.yaml", machineConfig("b", "/etc/b"),
		"README.md", "hello")
}

func changed(t fstest.MapFS, pairs ...string) fstest.MapFS {
	out := maps.Clone(t)
	maps.Copy(out, repo(pairs...))
	return out
}

func without(t fstest.MapFS, name string) fstest.MapFS {
	out := maps.Clone(t)
	delete(out, name)
	return out
}

func TestOnlyWhatChangedIsBuiltAgain(t *testing.T) {
	bare := repo("x/m.yaml", machineConfig("m", "/etc/m"), "notes.txt", "x")
	broken := changed(fleet(), "pools/b/kustomization.yaml", "resources: [gone.yaml]")
	for _, c := range []struct {
		name          string
		before, after fstest.MapFS
		runs          int
	}{
		{"nothing", fleet(), fleet(), 0},
		{"a file that no build reads", fleet(), changed(fleet(), "README.md", "bye", "pools/c/notes", "x"), 0},
		{"one overlay", fleet(), changed(fleet(), "pools/a/a.yaml", machineConfig("a", "/etc/A")), 1},
		{"the base of both", fleet(), changed(fleet(), "base/m.yaml", machineConfig("m", "/etc/M")), 2},
		{"a kustomization", fleet(), changed(fleet(), "pools/b/kustomization.yaml", "resources: [../../base]"), 1},
		{"a new overlay", fleet(), changed(fleet(), "pools/c/kustomization.yaml", "resources: [../../base]"), 1},
		{"a second kustomization file beside one", fleet(), changed(fleet(), "base/Kustomization", "resources: []"), 0},
		{"a file that was missed comes", broken, changed(broken, "pools/b/gone.yaml", machineConfig("g", "/etc/g")), 1},
		{"a file goes", fleet(), without(fleet(), "pools/a/a.yaml"), 0},
		{"a file of a plain directory comes", bare, changed(bare, "y/n.yaml", machineConfig("n", "/etc/n")), 0},
		{"a file of a plain directory changes", bare, changed(bare, "x/m.yaml", machineConfig("m", "/etc/n")), 0},
		{"a plain directory gets a kustomization", bare, changed(bare, "kustomization.yaml", "resources: [x/m.yaml]"), 1},
	} {
		for kind, wrap := range map[string]func(fstest.MapFS) fs.FS{
			"hashed":   func(m fstest.MapFS) fs.FS { return hashing{m, map[string]int{}} },
			"unhashed": func(m fstest.MapFS) fs.FS { return m },
		} {
			t.Run(c.name+", "+kind, func(t *testing.T) {
				var cache Cache
				if _, err := cache.Build(wrap(c.before), nil); err != nil {
					t.Fatal(err)
				}
				before := cache.runs
				got, err := cache.Build(wrap(c.after), nil)
				if err != nil {
					t.Fatal(err)
				}
				if runs := cache.runs - before; runs != c.runs {
					t.Errorf("kustomize ran %d times, want %d", runs, c.runs)
				}
				want, err := Build(c.after, nil)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("the cache gives\n%v\na build gives\n%v", got, want)
				}
			})
		}
	}
}

func TestAKnownBuildReadsNothing(t *testing.T) {
	var cache Cache
	for _, known := range []bool{false, true} {
		tree := hashing{fleet(), map[string]int{}}
		if _, err := cache.Build(tree, nil); err != nil {
			t.Fatal(err)
		}
		delete(tree.read, "pools") // which overlays are there is looked at
		if (len(tree.read) == 0) != known {
			t.Errorf("known %v, but read %v", known, tree.read)
		}
	}
}

func TestACacheIsBounded(t *testing.T) {
	var cache Cache
	for i := range maxKept + 10 {
		if _, err := cache.Build(repo("kustomization.yaml", fmt.Sprintf("resources: [m.yaml]\nnamePrefix: p%d-", i), "m.yaml", machineConfig("m", "/etc/m")), nil); err != nil {
			t.Fatal(err)
		}
	}
	size := 0
	for _, k := range cache.kept {
		size += k.size
	}
	if len(cache.kept) > maxKept || size != cache.size {
		t.Errorf("%d builds are kept, size %d counted as %d", len(cache.kept), size, cache.size)
	}
}

func TestACacheServesManyAtOnce(t *testing.T) {
	var cache Cache
	want, err := Build(fleet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			from := fleet()
			if i%2 == 0 {
				from = changed(from, "README.md", fmt.Sprint(i), "pools/a/kustomization.yaml", "resources: [../../base, a.yaml]\nopenapi: {version: v1.21.2}")
			}
			got, err := cache.Build(from, nil)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range got {
				got[i].Notices = nil
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	group.Wait()
}

// slow is a copy of the files that keeps kustomize waiting.
type slow struct {
	filesys.FileSystem
	until <-chan struct{}
}

func (s slow) ReadFile(name string) ([]byte, error) {
	<-s.until
	return s.FileSystem.ReadFile(name)
}

func TestABuildThatTakesTooLongIsGivenUp(t *testing.T) {
	memory := filesys.MakeFsInMemory()
	if err := memory.WriteFile("/kustomization.yaml", []byte("namePrefix: x")); err != nil {
		t.Fatal(err)
	}
	until := make(chan struct{})
	for i := range 1 + maxAbandoned {
		if _, err := kustomize(slow{memory, until}, "/", time.Millisecond); err != errSlow {
			t.Fatalf("build %d: error %v, want %v", i, err, errSlow)
		}
	}
	if _, err := kustomize(memory, "/", time.Minute); err != errBusy {
		t.Errorf("error %v, want %v", err, errBusy)
	}
	close(until)
	for range cap(running) { // each place is given back
		running <- struct{}{}
	}
	for range cap(running) {
		<-running
	}
	if _, err := kustomize(memory, "/", time.Minute); err != nil {
		t.Error(err)
	}

	cache := Cache{limit: time.Nanosecond}
	builds, err := cache.Build(fleet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := render.Error{File: "pools/a/kustomization.yaml", Why: "takes longer than 1ns to build: make it smaller"}
	if len(builds[0].Errors) != 1 || builds[0].Errors[0] != want {
		t.Errorf("got %v, want %v", builds[0].Errors, want)
	}
	cache.limit = 0
	if builds, err = cache.Build(fleet(), nil); err != nil || len(builds[0].Errors) > 0 {
		t.Errorf("once it was too slow it stays so: %v, %v", builds[0].Errors, err)
	}
}
