// Mutants breaks the controller's mind on purpose, one small change at a time, in a copy of the
// tree, and says which flow script or which seed notices. One that nobody notices is a promise
// that nothing holds.
//
//	mutants [-seeds N] [-only WORD] [-list FILE]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	list := flag.String("list", "test/mutants/mutants.txt", "the mutants")
	only := flag.String("only", "", "only those whose promise or file has this word")
	seeds := flag.Int("seeds", 150, "how many seeded worlds may notice, after the scripts have not")
	flag.Parse()
	if err := run(os.Stdout, ".", *list, *only, *seeds); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, root, list, only string, seeds int) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	mutants, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l := lab{tree: filepath.Join(dir, "tree"), binary: filepath.Join(dir, "sim.test"), seeds: seeds}
	if err := copyTree(root, l.tree); err != nil {
		return err
	}
	for _, m := range mutants { // before anything takes time
		if _, err := m.applied(l.tree); err != nil {
			return err
		}
	}
	start := time.Now()
	if caught, err := l.notices(); err != nil || caught != "" {
		return fmt.Errorf("without any mutant the tests must pass: %s (%v)", caught, err)
	}
	var survived []string
	tried := 0
	for _, m := range mutants {
		if only != "" && !strings.Contains(m.promise+m.file, only) {
			continue
		}
		tried++
		caught, err := l.try(m)
		switch {
		case err != nil: // it proves nothing, but the others do
			fmt.Fprintf(out, "%s: %v\n", m.promise, err)
			caught = "DOES NOT BUILD"
			survived = append(survived, m.promise)
		case caught == "":
			caught = "NOBODY"
			survived = append(survived, m.promise)
		}
		fmt.Fprintf(out, "%-24s %-74s %s\n", m.file, m.promise, caught)
	}
	fmt.Fprintf(out, "%d mutants, %d caught (%.0f s)\n", tried, tried-len(survived), time.Since(start).Seconds())
	if len(survived) > 0 {
		return fmt.Errorf("nobody notices: %s", strings.Join(survived, "; "))
	}
	return nil
}
