package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// table prints the benchmarks of each package as they end, a row each.
type table struct {
	w    io.Writer
	pkg  string
	rows [][]string
	said []string // what is no benchmark, in case the package fails
}

var processors = regexp.MustCompile(`-\d+$`)

func (t *table) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		t.line(lines.Text())
	}
	return lines.Err()
}

func (t *table) line(line string) {
	fields := strings.Fields(line)
	switch {
	case strings.HasPrefix(line, "Benchmark") && len(fields) >= 4:
		t.rows = append(t.rows, row(fields))
	case strings.HasPrefix(line, "pkg: "):
		t.pkg = fields[1]
	case strings.HasPrefix(line, "ok "), strings.HasPrefix(line, "FAIL\t"):
		if strings.HasPrefix(line, "FAIL") {
			fmt.Fprintln(t.w, strings.Join(append(t.said, line), "\n"))
		}
		t.flush()
	case strings.HasPrefix(line, "cpu: "), strings.HasPrefix(line, "goos: "), strings.HasPrefix(line, "goarch: "), strings.HasPrefix(line, "?"):
	default:
		t.said = append(t.said, line)
	}
}

// row is a benchmark's name, its time per operation, and its other values as they are.
func row(fields []string) []string {
	name := processors.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
	out := []string{name, "", fields[1] + " runs"}
	for i := 2; i+1 < len(fields); i += 2 {
		value, unit := fields[i], fields[i+1]
		switch number, err := strconv.ParseFloat(value, 64); {
		case err != nil:
			out = append(out, value+" "+unit)
		case unit == "ns/op":
			out[1] = perOperation(number)
		case unit == "B/op" && number >= 1<<20:
			out = append(out, fmt.Sprintf("%.1f MiB", number/(1<<20)))
		case unit == "B/op":
			out = append(out, fmt.Sprintf("%.1f KiB", number/(1<<10)))
		default:
			out = append(out, value+" "+strings.TrimSuffix(unit, "/op"))
		}
	}
	return out
}

// perOperation is a duration with three digits.
func perOperation(ns float64) string {
	d := time.Duration(ns)
	for unit := time.Second; unit >= time.Microsecond; unit /= 1000 {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return fmt.Sprintf("%.3g ns", ns)
}

func (t *table) flush() {
	if len(t.rows) > 0 {
		fmt.Fprintln(t.w, t.pkg)
		columns := tabwriter.NewWriter(t.w, 0, 8, 2, ' ', 0)
		for _, r := range t.rows {
			fmt.Fprintln(columns, "  "+strings.Join(r, "\t"))
		}
		_ = columns.Flush() // standard output: nobody is left to tell
	}
	t.rows, t.said = nil, nil
}
