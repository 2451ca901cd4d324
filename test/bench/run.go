package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds one run of one command, which takes seconds.
const patience = 3 * time.Minute

// bench is what all rows are measured with.
type bench struct {
	bin, floor string // where the programs are
	dir        string // for files, removed at the end
	rounds     int
	side       *sidekick
	out, log   io.Writer
}

const usage = `bench -bin DIR -floor DIR [-only PATTERN] [-rounds N]

The floor's directory holds three programs: work (open|exec|connect COUNT
[THREADS], prints us_per_op=X and ops_per_s=Y), and notify and ptrace, which run
a command under a supervisor that looks at nothing.
`

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	b := &bench{out: stdout, log: stderr}
	flags.StringVar(&b.bin, "bin", "bin", "where tracer and sidekick are")
	flags.StringVar(&b.floor, "floor", "", "where work, notify and ptrace are")
	only := flags.String("only", "", "measure only rows whose name matches this regular expression")
	flags.IntVar(&b.rounds, "rounds", 7, "times that each command is run; medians are printed")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	pattern, err := regexp.Compile("(?i)" + *only)
	switch {
	case err == nil && b.floor == "":
		err = errors.New("-floor is needed: the directory of work, notify and ptrace")
	case err == nil && b.rounds < 1:
		err = errors.New("-rounds must be at least 1")
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer cancel()
	if err := b.measure(ctx, pattern); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// measure measures the rows whose names match.
func (b *bench) measure(ctx context.Context, only *regexp.Regexp) (err error) {
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if b.floor, err = filepath.Abs(b.floor); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o755); err != nil { // a database runs as somebody else
		return err
	}
	if err := b.writePolicies(); err != nil {
		return err
	}
	if b.side, err = startSidekick(ctx, b.bin, b.dir); err != nil {
		return err
	}
	defer b.side.stop()
	b.header()
	for _, r := range rows() {
		if !only.MatchString(r.name) {
			continue
		}
		if missing := r.missing(); missing != "" {
			fmt.Fprintf(b.out, "| %s | skipped: there is no %s | | | | | |\n", r.name, missing)
			continue
		}
		begin := time.Now()
		if err := b.row(ctx, &r); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		fmt.Fprintf(b.log, "bench: %s: %.0f s\n", r.name, time.Since(begin).Seconds())
	}
	return nil
}

// missing is the first program that a row needs and that is not there.
func (r *row) missing() string {
	for name := range strings.FieldsSeq(r.needs) {
		if _, err := exec.LookPath(name); err != nil {
			return name
		}
	}
	return ""
}
