// Command sluice is the controller of a fleet and the tool that people use on it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	_ "time/tzdata" // windows name time zones, and a node may have no database of them

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(runAs(ctx, filepath.Base(os.Args[0]), os.Args[1:], os.Stdout, os.Stderr))
}

// verdict is an exit code that is no failure of the command: it said its piece.
type verdict int

func (v verdict) Error() string { return fmt.Sprintf("exit %d", int(v)) }

// run is the whole program: 0 done, 1 failed, 2 wrong usage, 3 a denied verdict where that was
// asked for.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return runAs(ctx, "sluice", args, stdout, stderr)
}

// runAs is the program under the name that it was called by.
func runAs(ctx context.Context, name string, args []string, stdout, stderr io.Writer) int {
	root := command()
	if name == plugin {
		root.Use, root.Annotations = plugin, map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl sluice"}
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	began := false
	root.PersistentPreRun = func(*cobra.Command, []string) { began = true }
	c, err := root.ExecuteContextC(ctx)
	var v verdict
	switch {
	case err == nil:
		return 0
	case errors.As(err, &v):
		return int(v)
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "sluice: %s\n", strings.TrimSuffix(line, "\n"))
	}
	if !began || errors.As(err, new(usage)) {
		fmt.Fprintf(stderr, "sluice: see %s --help\n", c.CommandPath())
		return 2
	}
	return 1
}

// usage is a mistake in how the command was called.
type usage string

func (u usage) Error() string { return string(u) }

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "From a Git repository to the machine configuration of a fleet",
		Long: "Sluice turns a Git repository into the machine configuration of a fleet of Linux nodes.\n" +
			"Push to roll out; a pull request shows which nodes would reboot; revert to roll back.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          needCommand,
	}
	root.AddCommand(
		renderCommand(), impactCommand(), previewCommand(), policyCommand(), simCommand(),
		runCommand(), getCommand(), whyCommand(), historyCommand(), traceCommand(), holdCommand(), releaseCommand(), demoCommand(), versionCommand(),
	)
	worded(root)
	return root
}

// worded has commands say in our words which arguments they want.
func worded(c *cobra.Command) {
	for _, sub := range c.Commands() {
		worded(sub)
	}
	if takes := c.Args; takes != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if takes(c, args) == nil {
				return nil
			}
			_, form, _ := strings.Cut(c.Use, " ")
			return usage(strings.TrimSpace(fmt.Sprintf("got %q, want: %s %s", args, c.CommandPath(), form)))
		}
	}
}

// needCommand is what a command does that only has others below it.
func needCommand(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Sprintf("%s has no command %q", c.CommandPath(), args[0]))
	}
	return c.Help()
}

func versionCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output == "json" {
				return printJSON(c.OutOrStdout(), map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), "sluice", version)
			return err
		},
	}
	outputFlag(c, &output, "text", "json")
	return c
}
