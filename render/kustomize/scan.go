package kustomize

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/sluice-gitops/sluice/machine/manifest"
	"github.com/sluice-gitops/sluice/render"
)

// scan is one build. It reads every file that a kustomization asks for, before kustomize runs,
// and copies it to memory. Kustomize then sees that copy and nothing else. It fetches whatever
// looks like an address, under no restriction that it offers, so anything that does is refused
// here.
type scan struct {
	*tree
	build    render.Build
	saw      map[string]bool   // every path that the outcome depends on
	costs    map[string]*cost  // directory -> what is below it; nil while it is being scanned
	folded   map[string]string // path without case -> path that was read
	spent    cost              // in a plain directory
	unbuilt  []string          // the kustomizations there
	runs     int               // of kustomize
	fleeting bool              // the outcome depends on more than what was read
	renames  bool              // a kustomization gives documents other names

	layers    []layer  // the kustomizations, each after those that it includes
	resources []string // files that stand for themselves, in the order in which they are listed
}

func newScan(t *tree, dir string) *scan {
	return &scan{tree: t, build: render.Build{Dir: dir}, saw: map[string]bool{}, costs: map[string]*cost{}, folded: map[string]string{}}
}

// run reads the documents of the build. An error means that it could not be found out whether it
// is right.
func (s *scan) run(patience time.Duration) error {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		s.saw[path.Join(s.build.Dir, name)] = true
	}
	if s.kustomizationIn(s.build.Dir) != "" {
		return s.overlay(patience)
	}
	s.directory(s.build.Dir, s.build.Dir)
	return nil
}

// spot is what a mistake is laid at.
type spot struct {
	file  string
	line  int // 0 where it is not known
	field string
}

func in(file string) spot { return spot{file: file} }

func (s *scan) fail(at spot, format string, args ...any) {
	s.build.Errors = append(s.build.Errors, mistake(at, format, args...))
}

func mistake(at spot, format string, args ...any) render.Error {
	return render.Error{File: at.file, Line: at.line, Field: at.field, Why: fmt.Sprintf(format, args...)}
}

// flawed lays at a file what is wrong with it as text or as YAML.
func (s *scan) flawed(file string, err error) {
	s.build.Errors = append(s.build.Errors, flaw(spot{file: file}, err))
}

var begins = regexp.MustCompile(`^(is no YAML: )?line (\d+): `)

// flaw is an error of inspect, or of YAML itself, with its line where it belongs.
func flaw(at spot, err error) render.Error {
	why := err.Error()
	if m := begins.FindStringSubmatch(why); m != nil {
		why = m[1] + why[len(m[0]):]
		if n, err := strconv.Atoi(m[2]); err == nil && at.line == 0 {
			at.line = n
		}
	}
	return mistake(at, "%s", why)
}

func (s *scan) notice(file, format string, args ...any) {
	s.build.Notices = append(s.build.Notices, file+": "+fmt.Sprintf(format, args...))
}

var account = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@`)

// remote says whether kustomize might take a path for the address of a file or of a repository.
func remote(p string) bool {
	low := strings.ToLower(p)
	return strings.Contains(low, "://") || strings.Contains(low, "//") || strings.Contains(low, "?") ||
		strings.HasPrefix(low, "git::") || strings.HasPrefix(low, "github.com/") ||
		strings.HasPrefix(low, "github.com:") || account.MatchString(p)
}

// resolve is the place in the tree that a path in a kustomization of dir means, or why it means
// none.
func (s *scan) resolve(dir, p string) (string, string) {
	switch {
	case p == "":
		return "", "is empty"
	case remote(p):
		return "", fmt.Sprintf("%q looks like a remote address: only files of this repository are read, so copy it into the repository", p)
	case path.IsAbs(p):
		return "", fmt.Sprintf("%q is absolute: write it relative to this file", p)
	}
	at := path.Join(dir, p)
	if at == ".." || strings.HasPrefix(at, "../") {
		return "", fmt.Sprintf("%q lies outside the repository", p)
	}
	s.saw[at] = true
	return at, s.place(at).why
}

// load copies one file to memory and says what it costs. With parse it must be YAML that is safe
// to expand.
func (s *scan) load(at string, parse bool) cost {
	s.saw[at] = true
	one := cost{loads: 1}
	f := s.file(at)
	if f.why != "" {
		s.fail(in(at), "%s", f.why)
		return one
	}
	if other := s.differByCase(at); other != "" {
		s.fail(in(at), "differs from %s only by case: rename one", other)
		return one
	}
	contents := f.data
	if parse && path.Ext(at) == ".bu" {
		if contents = s.readButane(at, f); contents == nil {
			return one
		}
	} else if parse {
		f.yaml = true
		if err := f.unsafe(); err != nil {
			s.flawed(at, err)
			return one
		}
		contents = f.text()
	}
	one.bytes = int64(len(contents))
	one.documents = 1 + bytes.Count(contents, []byte("\n---"))
	if bytes.Contains(contents, []byte("List")) {
		one.documents += bytes.Count(contents, []byte("kind"))
	}
	s.remember(at, contents)
	return one
}

// mark is what some editors put before UTF-8.
var mark = []byte("\ufeff")

// text is the file without the mark.
func (f *file) text() []byte { return bytes.TrimPrefix(f.data, mark) }

// severalDocuments says whether a file may hold more than one, be it in a list.
func severalDocuments(contents []byte) bool {
	return bytes.Contains(contents, []byte("\n---")) || bytes.Contains(contents, []byte("items:")) && bytes.Contains(contents, []byte("List"))
}

// unsafe says why a file must not be parsed any further. It is exact about depth and aliases only
// where a look at the text leaves a doubt.
func (f *file) unsafe() error {
	if f.inspected {
		return f.flaw
	}
	if err := text(f.data); err != nil || harmless(f.data) {
		return err
	}
	return f.inspect()
}

func (f *file) inspect() error {
	if !f.inspected {
		f.inspected, f.flaw = true, text(f.data)
		if f.flaw == nil {
			f.flaw = inspect(f.data)
		}
	}
	return f.flaw
}

func text(data []byte) error {
	if at := bytes.IndexByte(data, 0); at >= 0 {
		return fmt.Errorf("line %d: holds a NUL: it is no text", line(data, at))
	}
	if utf8.Valid(data) {
		return nil
	}
	at := 0
	for rest := data; ; rest = data[at:] {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n <= 1 {
			return fmt.Errorf("line %d: is not UTF-8", line(data, at))
		}
		at += n
	}
}

func line(data []byte, at int) int { return 1 + bytes.Count(data[:at], []byte("\n")) }

// differByCase is another path that was read and that some disks cannot tell from this one.
func (s *scan) differByCase(at string) string {
	for i := range len(at) + 1 {
		if i < len(at) && at[i] != '/' {
			continue
		}
		fold := strings.ToLower(strings.ToUpper(at[:i]))
		if other, known := s.folded[fold]; known && other != at[:i] {
			return other
		}
		s.folded[fold] = at[:i]
	}
	return ""
}

func (s *scan) remember(at string, contents []byte) {
	if s.memory.Exists("/" + at) {
		return
	}
	if err := s.memory.WriteFile("/"+at, contents); err != nil {
		s.fail(in(at), "%v", err)
	}
}

// readButane is the MachineConfig that a *.bu file stands for, or nil.
func (s *scan) readButane(at string, f *file) []byte {
	if s.butane == nil {
		s.fail(in(at), "is Butane, which is not read here: list the MachineConfig that butane makes of it")
		return nil
	}
	if f.manifest == nil && f.mistake == nil {
		if f.mistake = text(f.data); f.mistake == nil {
			f.mistake = inspect(f.data)
		}
		if f.mistake == nil {
			f.manifest, f.warnings, f.mistake = s.butane(at, bytes.TrimPrefix(f.data, mark))
		}
	}
	if f.mistake != nil {
		for _, one := range each(f.mistake) {
			var placed interface {
				Where() (field string, line int, why string)
			}
			if errors.As(one, &placed) {
				field, line, why := placed.Where()
				s.fail(spot{at, line, field}, "%s", why)
			} else {
				s.flawed(at, one)
			}
		}
		return nil
	}
	for _, w := range f.warnings {
		s.notice(at, "%s", w)
	}
	return f.manifest
}

// each are the errors that were joined to one.
func each(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}

// directory reads a build without a kustomization: the documents as they are written.
func (s *scan) directory(root, dir string) {
	s.saw[dir+"/"] = true
	entries, why := s.list(dir)
	if why != "" {
		s.fail(in(dir), "%s", why)
		return
	}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			s.directory(root, at)
		case slices.Contains(konfig.RecognizedKustomizationFileNames(), e.Name()):
			s.unbuilt = append(s.unbuilt, at)
		case isManifest(e.Name()):
			s.plain(at)
		}
		if s.spent.over() != "" {
			break
		}
	}
	if dir != root {
		return
	}
	if why := s.spent.over(); why != "" {
		s.fail(in(dir), "%s", why)
	}
	if len(s.unbuilt) > 0 {
		s.notice(s.unbuilt[0], "is not built (of such files here: %d), since all is read as plain files: name with --path what to build, or put it below pools", len(s.unbuilt))
	}
}

func isManifest(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json", ".bu":
		return true
	}
	return false
}

// plain reads one file of a plain directory. A file that is no YAML is a mistake where it speaks
// of node configuration; others lie about in every repository and say nothing to us.
func (s *scan) plain(at string) {
	s.saw[at] = true
	if why := s.place(at).why; why != "" {
		s.fail(in(at), "%s", why)
		return
	}
	f := s.file(at)
	butane := path.Ext(at) == ".bu"
	flaw := f.inspect()
	if flaw == nil && !butane && bytes.Contains(f.data, []byte("{{")) {
		flaw = byChance(f.data)
	}
	switch {
	case f.why != "" || flaw == nil && !butane:
	case butane && s.butane == nil:
		s.notice(at, "is Butane, which is not read here: it is passed over")
		return
	case !butane && template(f.data):
		s.notice(at, "is a template, not YAML, and passed over: commit what it renders to")
		return
	case !butane && !slices.ContainsFunc(ours, func(group string) bool { return bytes.Contains(narrow(f.data), []byte(group)) }):
		s.notice(at, "%v: it is passed over", flaw)
		return
	}
	before := len(s.build.Errors)
	s.spent.add(s.load(at, true))
	if len(s.build.Errors) > before {
		return
	}
	contents := bytes.TrimPrefix(f.data, mark)
	if butane {
		contents = f.manifest
	}
	before = 0
	for _, doc := range manifest.Documents(contents) {
		d := render.Document{File: at, Body: doc}
		if i := bytes.Index(contents[before:], doc); i >= 0 && !butane {
			before += i
			d.Line = line(contents, before)
			before += len(doc)
		}
		s.build.Documents = append(s.build.Documents, d)
	}
}

// ours are the API groups that speak of nodes.
var ours = []string{"machineconfiguration.openshift.io", "config.openshift.io", "operator.openshift.io", "sluice.dev"}
