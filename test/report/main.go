// Report runs the tests or the benchmarks of the project and says what came of them: a line per
// package as it ends, what failing tests printed, every skip with its reason, and the counts.
//
//	report test [go test flags] packages
//	report bench [go test flags] packages
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	args := os.Args[1:]
	switch {
	case len(args) > 1 && args[0] == "test":
		race, why := raceFlags()
		fmt.Println(why)
		os.Exit(runTests(os.Stdout, ".", append(race, args[1:]...)))
	case len(args) > 1 && args[0] == "bench":
		os.Exit(runBenchmarks(os.Stdout, ".", args[1:]))
	}
	fmt.Fprintln(os.Stderr, "report: want test or bench, then flags of go test and packages")
	os.Exit(2)
}

func runTests(w io.Writer, dir string, args []string) int {
	t := newTally(w)
	code := stream(dir, append([]string{"test", "-json"}, args...), t.read)
	if code != 0 && t.failed == 0 {
		t.failed = 1 // go test itself: its words stand above
	}
	t.summary()
	return code
}

func runBenchmarks(w io.Writer, dir string, args []string) int {
	t := table{w: w}
	return stream(dir, append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem"}, args...), t.read)
}

// stream gives the output of go to read while it comes, and returns the exit code of go.
func stream(dir string, args []string, read func(io.Reader) error) int {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		return 1
	}
	unread := read(out)
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return max(1, exit.ExitCode()) // -1 is a signal
	case err != nil, unread != nil:
		fmt.Fprintln(os.Stderr, "report:", errors.Join(err, unread))
		return 1
	}
	return 0
}

// raceFlags turns the race detector on where it can be linked: it needs a C compiler that finds
// its library, and a processor that Go has it for.
func raceFlags() (flags []string, why string) {
	if exec.Command("go", "list", "-race", "-f", "{{.Name}}", "runtime/race").Run() != nil {
		return nil, "without -race: there is no cgo, or no race detector for this processor"
	}
	cc, err := exec.Command("go", "env", "CC").Output()
	words := strings.Fields(string(cc))
	if err != nil || len(words) == 0 {
		return nil, "without -race: go names no C compiler"
	}
	try := exec.Command(words[0], append(words[1:], "-x", "c", "-o", os.DevNull, "-")...)
	try.Stdin = strings.NewReader("#include <pthread.h>\nint main(void) { return 0; }\n")
	if err := try.Run(); err != nil {
		return nil, fmt.Sprintf("without -race: the C compiler %s does not work here (%v)", words[0], err)
	}
	return []string{"-race"}, "with -race: the C compiler is " + words[0]
}
