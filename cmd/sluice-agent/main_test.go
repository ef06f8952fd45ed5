package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sluice-agent": main,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"waitfor": waitFor},
	})
}

// waitFor waits until a file holds a text: waitfor FILE TEXT.
func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	last := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-ticker.C {
		data, _ := os.ReadFile(ts.MkAbs(args[0])) // none yet is waited for, too
		if last = string(data); strings.Contains(last, args[1]) {
			return
		}
	}
	ts.Fatalf("%s does not come to hold %q, but %q", args[0], args[1], last)
}
