// Command sluice-agent keeps one node as its orders say.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code(err))
}

// code is the exit code of an error: 0 done, 1 failed, 2 wrong usage.
func code(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(usage)):
		return 2
	}
	return 1
}

// usage is a mistake in how the command was called.
type usage struct{ error }

// errSaid is a failure of which all has been said on stdout.
var errSaid = errors.New("")

// run is the whole program. What is wrong is written to stderr before it returns.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	began := false
	root.PersistentPreRun = func(*cobra.Command, []string) { began = true }
	err := root.ExecuteContext(ctx)
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "sluice-agent: %s\n", strings.TrimSuffix(line, "\n"))
	}
	if !began {
		err = usage{err}
	}
	if errors.As(err, new(usage)) {
		fmt.Fprintln(stderr, "sluice-agent: see sluice-agent --help")
	}
	return err
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "sluice-agent",
		Short:         "Keep one node as its orders say",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage{fmt.Errorf("there is no command %q", args[0])}
			}
			return c.Help()
		},
	}
	root.AddCommand(runCommand(), applyCommand(), verifyCommand(), versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	output := "text"
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return print(c.OutOrStdout(), output, map[string]string{"version": version}, "sluice-agent "+version)
		},
	}
	outputFlag(c, &output)
	return c
}

func outputFlag(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "text", "text or json")
}

func known(output string) error {
	if output != "text" && output != "json" {
		return usage{fmt.Errorf("--output %q: is neither text nor json", output)}
	}
	return nil
}

// print writes a value as JSON, or what it amounts to in words.
func print(w io.Writer, output string, v any, words string) error {
	if err := known(output); err != nil {
		return err
	}
	if output == "text" {
		if words == "" {
			return nil
		}
		_, err := fmt.Fprintln(w, words)
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
