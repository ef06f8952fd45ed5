package kustomize

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

var (
	// one build at a time: kustomize keeps its schema in variables of the process.
	one sync.Mutex
	// running holds a place for the build and for those that were given up: they cannot be killed.
	running = make(chan struct{}, 1+maxAbandoned)
)

const (
	maxAbandoned = 3
	maxOutput    = 64 << 20 // bytes of all documents of a build
)

var errSlow = errors.New("takes too long to build")

// overlay is a build with a kustomization.
func (s *scan) overlay(patience time.Duration) error {
	dir := s.build.Dir
	at := s.kustomizationIn(dir)
	read := s.overlayFiles(dir, in(at))
	if len(s.build.Errors) == 0 {
		s.grows(read)
	}
	if len(s.build.Errors) > 0 {
		s.flaws()
		return nil
	}
	if err := prepare(); err != nil {
		return err
	}
	s.runs++
	resources, err := kustomize(s.memory, path.Join("/", dir), patience)
	switch {
	case errors.Is(err, errSlow):
		s.fail(in(at), "takes longer than %v to build: make it smaller", patience)
		s.fleeting = true
		s.forget() // what was given up still reads from there
		return nil
	case errors.Is(err, errBusy):
		return fmt.Errorf("build %q: %w", dir, err)
	case err != nil:
		s.blame(at, err)
		return nil
	}
	size := 0
	for _, r := range resources.Resources() {
		d, err := s.document(at, r.YNode(), maxOutput-size)
		if err != nil {
			s.fail(in(d.File), "%s: %v", named(r), err)
			continue
		}
		size += len(d.Body)
		s.build.Documents = append(s.build.Documents, d)
	}
	return nil
}

func named(r *resource.Resource) string { return r.GetKind() + " " + r.GetName() }

// flaws says which files are no YAML: the scan leaves the grammar to kustomize, which says less
// well where it is broken.
func (s *scan) flaws() {
	for name, f := range s.files {
		if s.saw[name] && f.manifest == nil && f.yaml {
			if flaw := f.inspect(); flaw != nil {
				s.flawed(name, flaw)
			}
		}
	}
}

// blame lays what kustomize refused at the files that are no YAML, if there are any, or at the
// patches that it could not read.
func (s *scan) blame(at string, err error) {
	s.flaws()
	if strings.Contains(err.Error(), "unable to parse SM or JSON patch") {
		s.namelessPatches()
	}
	if len(s.build.Errors) == 0 && !s.sameName(at, err) {
		s.fail(in(at), "%s", tidy(err))
	}
}

var errBusy = fmt.Errorf("%d builds that took too long still run", maxAbandoned)

// kustomize runs the library on a copy that holds what the scan allowed, and no more.
func kustomize(memory filesys.FileSystem, dir string, patience time.Duration) (resmap.ResMap, error) {
	type result struct {
		resources resmap.ResMap
		err       error
	}
	one.Lock()
	defer one.Unlock()
	select {
	case running <- struct{}{}:
	default:
		return nil, errBusy
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r = result{err: fmt.Errorf("kustomize gave up on it: %v", p)}
			}
			<-running
			done <- r
		}()
		options := krusty.MakeDefaultOptions()
		options.PluginConfig = types.DisabledPluginConfig()
		options.LoadRestrictions = types.LoadRestrictionsNone
		r.resources, r.err = krusty.MakeKustomizer(options).Run(memory, dir)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.resources, r.err
	case <-timer.C:
		return nil, errSlow
	}
}

var (
	configured = regexp.MustCompile(" with config: `.*`")
	// quotes are the words after which the library repeats what it was given.
	quotes = []string{
		" from [", " sources [", " in object ", " in {", " in obj ", " {", " &{", " map[", "\n", " '{",
		": node contents:", ": decoding ", " [patch:", " JsonOp=", " for patch ", " for value ", " utf8 bytes",
	}
)

// tidy makes what kustomize says fit for a pull request: one line, paths of the repository, and
// no contents, which some of its errors quote.
func tidy(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	text = configured.ReplaceAllString(text, "")
	for _, quote := range quotes {
		if at := strings.Index(text, quote); at >= 0 {
			text = text[:at]
		}
	}
	text = strings.TrimSpace(strings.NewReplacer("'/", "'", `"/`, `"`).Replace(text))
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "..."
	}
	return text
}
