package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of a build's output
	Elapsed                       float64
	FailedBuild                   string
}

// tally counts what ran. A test with subtests counts for itself only where it ended other than
// all of them did; a row of a table is a test.
type tally struct {
	w                       io.Writer
	running                 map[string]map[string]*result // package -> test
	passed, failed, skipped int
	skips                   []string
}

type result struct {
	action string // pass, fail, skip; "" while it runs
	said   []string
}

func newTally(w io.Writer) *tally {
	return &tally{w: w, running: map[string]map[string]*result{}}
}

// read takes every event of a run. A line that is none is passed on.
func (t *tally) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				fmt.Fprintf(t.w, "%s", line)
			} else {
				t.hear(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) hear(e event) {
	if e.Action == "build-output" {
		fmt.Fprint(t.w, e.Output)
		return
	}
	if t.running[e.Package] == nil {
		t.running[e.Package] = map[string]*result{}
	}
	tests := t.running[e.Package]
	if tests[e.Test] == nil {
		tests[e.Test] = &result{}
	}
	test := tests[e.Test]
	switch e.Action {
	case "output":
		if noise := strings.HasPrefix(e.Output, "=== "); !noise {
			test.said = append(test.said, e.Output)
		}
	case "pass", "fail", "skip":
		test.action = e.Action
		if e.Test == "" {
			t.close(e, tests)
			delete(t.running, e.Package)
		}
	}
}

// close counts a package that has ended, and says how.
func (t *tally) close(e event, tests map[string]*result) {
	own := tests[""]
	delete(tests, "")
	before := *t
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		test := tests[name]
		if test.action == "" {
			test.action = "fail" // it was running when its program ended
		}
		if !counts(tests, name, test.action) {
			if words := reason(test.said); test.action == "fail" && words != silent {
				fmt.Fprintf(t.w, "FAIL %s %s\n%s", e.Package, name, strings.Join(test.said, ""))
			}
			continue
		}
		switch test.action {
		case "pass":
			t.passed++
		case "skip":
			t.skipped++
			t.skips = append(t.skips, fmt.Sprintf("%s %s: %s", e.Package, name, reason(test.said)))
		case "fail":
			t.failed++
			fmt.Fprintf(t.w, "FAIL %s %s\n%s", e.Package, name, strings.Join(test.said, ""))
		}
	}
	ran, failed := t.passed-before.passed, t.failed-before.failed
	switch {
	case e.Action == "skip" && len(tests) == 0:
		return // no test files
	case e.Action != "fail":
		note := ""
		if strings.Contains(strings.Join(own.said, ""), "(cached)") {
			note = " (cached)"
		}
		fmt.Fprintf(t.w, "ok   %s %d passed, %.1f s%s\n", e.Package, ran, e.Elapsed, note)
		return
	case failed == 0: // it did not build, or it fell over outside of any test
		t.failed++
		fmt.Fprint(t.w, strings.Join(own.said, ""))
	}
	fmt.Fprintf(t.w, "FAIL %s %d passed, %d failed, %.1f s\n", e.Package, ran, max(failed, 1), e.Elapsed)
}

// counts says that no subtest speaks for the test already.
func counts(tests map[string]*result, name, action string) bool {
	spoken, parent := false, false
	for other, r := range tests {
		if strings.HasPrefix(other, name+"/") {
			parent = true
			spoken = spoken || cmp.Or(r.action, "fail") == action
		}
	}
	return !parent || action != "pass" && !spoken
}

// silent is the reason of a test that gave none.
const silent = "no reason given"

// reason is what a test that was skipped, or failed, said of why.
func reason(said []string) string {
	var words []string
	for _, s := range said {
		if s = strings.TrimSpace(s); s != "" && !strings.HasPrefix(s, "--- ") {
			words = append(words, s)
		}
	}
	return cmp.Or(strings.Join(words, " "), silent)
}

// summary is the end of the report; its last line is for scripts, too.
func (t *tally) summary() {
	for _, s := range t.skips {
		fmt.Fprintln(t.w, "SKIP", s)
	}
	fmt.Fprintf(t.w, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
}
