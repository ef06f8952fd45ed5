package render

import (
	"regexp"
)

// line is the place in a file that a notice begins with.
var line = regexp.MustCompile(`^([^: ]+):\d+: `)

// Added are the notices of a revision that another before it did not have. Where in its file a
// notice stands does not matter: lines above it come and go.
func Added(before, after []string) (out []string) {
	bare := func(notice string) string { return line.ReplaceAllString(notice, "$1: ") }
	had := make(map[string]int, len(before))
	for _, n := range before {
		had[bare(n)]++
	}
	for _, n := range after {
		if had[bare(n)]--; had[bare(n)] < 0 {
			out = append(out, n)
		}
	}
	return out
}
