// Command image assembles the container image of Sluice without a container engine, and inspects
// what it made. The same binaries, version and time give the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "image: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	var p product
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	f.StringVar(&p.binaries, "binaries", "", "the `DIR` with ARCH/sluice and ARCH/sluice-agent")
	f.StringVar(&p.version, "version", "dev", "the version, which is the tag too")
	f.StringVar(&p.revision, "revision", "", "the commit that it was built from")
	out := f.String("out", "image.tar", "the `FILE` to write: an OCI archive that docker load takes, too")
	epoch := f.String("epoch", os.Getenv("SOURCE_DATE_EPOCH"), "the time of every file, in seconds since 1970")
	roots := f.String("roots", "", "write only what the image has beside the binaries, below this `DIR`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *roots != "" {
		return writeTree(*roots)
	}
	seconds, err := strconv.ParseInt(*epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("-epoch: %q is no number of seconds: give the commit's time", *epoch)
	}
	if p.binaries == "" {
		return errors.New("-binaries: which? give the folder with ARCH/sluice and ARCH/sluice-agent")
	}
	p.made = time.Unix(seconds, 0).UTC()
	if err := p.write(*out); err != nil {
		return fmt.Errorf("assemble: %w", err)
	}
	if err := p.inspect(*out, stdout); err != nil {
		os.Remove(*out)
		return fmt.Errorf("inspect: %w", err)
	}
	return nil
}
