package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ways are how each suite is run: natively first.
func ways(o *options) []way {
	under := func(flags ...string) []string {
		return slices.Concat([]string{o.tracer, "run"}, flags, []string{"--engine", o.engine, "--"})
	}
	return []way{
		{name: "natively"},
		{name: "traced, without rules", before: under()},
		{name: "traced, with rules", before: under("--policies", o.rules)},
	}
}

// way is what stands before a suite's command.
type way struct {
	name   string
	before []string
}

type options struct {
	tracer, engine, rules string
	only                  *regexp.Regexp
	dir                   string // scratch, made by this run
	log                   io.Writer
}

// otherRules are about nothing that a suite touches, but of all kinds: every call
// that a rule could be about goes through the tracer.
const otherRules = `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: other}
spec:
  process: {matchPaths: [{path: /nonexistent/program}]}
  file: {matchPaths: [{path: /nonexistent/file}], matchDirectories: [{dir: /nonexistent/directory/, recursive: true}]}
  network: {matchProtocols: [{protocol: dccp}]}
  action: Block
`

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("strangers", flag.ContinueOnError)
	flags.SetOutput(stderr)
	bin := flags.String("bin", "bin", "directory of the tracer")
	engine := flags.String("engine", "auto", "the tracer's --engine")
	only := flags.String("only", "", "regular expression: the suites to run")
	if flags.Parse(args) != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	differences, err := compare(ctx, *bin, *engine, *only, stdout, stderr)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "strangers:", err)
		return 1
	case differences > 0:
		return 1
	}
	return 0
}

// compare runs all suites, prints the table, and counts the tests that differ.
func compare(ctx context.Context, bin, engine, only string, stdout, stderr io.Writer) (differences int, err error) {
	o := options{engine: engine, log: stderr}
	if o.only, err = regexp.Compile(only); err != nil {
		return 0, fmt.Errorf("-only: %w", err)
	}
	if o.tracer, err = filepath.Abs(filepath.Join(bin, "tracer")); err != nil {
		return 0, err
	}
	if o.dir, err = os.MkdirTemp("", "strangers."); err != nil {
		return 0, err
	}
	defer os.RemoveAll(o.dir)
	if err := os.Chmod(o.dir, 0o755); err != nil { // suites become other users
		return 0, err
	}
	o.rules = filepath.Join(o.dir, "rules.yaml")
	if err := os.WriteFile(o.rules, []byte(otherRules), 0o644); err != nil {
		return 0, err
	}
	fmt.Fprintln(stdout, "| suite | tests | natively | without rules | with rules | not as natively |\n|---|---|---|---|---|---|")
	for _, s := range suites() {
		if !o.only.MatchString(s.name) {
			continue
		}
		n, err := o.suite(ctx, &s, stdout)
		if err != nil {
			return differences, fmt.Errorf("%s: %w", s.name, err)
		}
		differences += n
	}
	return differences, nil
}

// suite runs one suite in all ways and prints its line.
func (o *options) suite(ctx context.Context, s *suite, stdout io.Writer) (differences int, err error) {
	dir := filepath.Join(o.dir, "suite")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	commands, err := s.prepare(ctx, dir)
	if err != nil {
		return 0, err
	}
	var all []results
	line := "| " + s.name
	for _, w := range ways(o) {
		got := results{}
		for _, c := range commands {
			fmt.Fprintln(o.log, s.name, c.name, w.name)
			if err := o.run(ctx, s, &c, &w, got); err != nil {
				return 0, err
			}
		}
		if len(all) == 0 {
			line += fmt.Sprintf(" | %d", len(got))
		}
		line += fmt.Sprintf(" | %d", got.passed())
		all = append(all, got)
	}
	worse := map[string]bool{}
	for _, traced := range all[1:] {
		for name, outcome := range all[0] {
			if outcome == passed && traced[name] != passed {
				worse[name] = true
				fmt.Fprintf(o.log, "  %s: %s natively, %s under the tracer\n", name, outcome, traced[name])
			}
		}
	}
	fmt.Fprintln(stdout, line+" | "+strings.Join(slices.Sorted(maps.Keys(worse)), ", ")+" |")
	return len(worse), nil
}

// patience bounds a command of a suite: one that hangs is cut off, natively too.
const patience = 10 * time.Minute

// run runs a command of a suite one way.
func (o *options) run(ctx context.Context, s *suite, c *command, w *way, got results) error {
	work, err := os.MkdirTemp(o.dir, "work.")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	argv := slices.Concat(w.before, c.argv)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = c.dir
	if cmd.Dir == "" {
		cmd.Dir = work
	}
	cmd.Env = append(os.Environ(), "SIDEKICK_URL=", "TMPDIR="+work)
	cmd.WaitDelay = 10 * time.Second // what a test left behind may have kept the output open
	out, err := cmd.CombinedOutput()
	if parent := context.Cause(ctx); parent != nil {
		fmt.Fprintf(o.log, "  %s was cut off: %v\n", c.name, parent)
	}
	s.read(c, out, err, got)
	return nil
}
