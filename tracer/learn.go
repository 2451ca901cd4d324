package main

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/config"
	"github.com/sidearmor/sidearmor/tracer/internal/learn"
	"github.com/sidearmor/sidearmor/tracer/internal/policies"
)

// student watches a run, and learns.
type student struct {
	*learn.Learner
	rules *rules.Rules
}

// Rules are those of the run: they ask about everything and deny nothing.
func (s *student) Rules() *rules.Rules { return s.rules }

// learnPolicy writes the policy of what a command does, or of events. It ends as the
// command does.
func learnPolicy(c config.Config, environ []string, stdout, stderr io.Writer) int {
	learner, err := newLearner(c)
	if err != nil {
		return fail(stderr, exitFailed, fmt.Errorf("learn: %w", err))
	}
	code := 0
	if len(c.Argv) > 0 {
		if c.Learn.Output == "" {
			out, closeOut, err := apart(stdout)
			if err != nil {
				return fail(stderr, exitFailed, fmt.Errorf("learn: %w", err))
			}
			defer closeOut()
			stdout = out
		}
		hub, err := trialHub(c.Posture, learner.Documents(), slog.New(slog.DiscardHandler))
		if err != nil {
			return fail(stderr, exitFailed, fmt.Errorf("learn: %w", err))
		}
		s := &student{Learner: learner}
		s.rules = hub.Rules().Permissive(func(a rules.Access, _ rules.Verdict) { learner.Add(a) })
		c.SidekickURL = config.URL{} // what happens while learning concerns nobody
		code = runWorkload(c, environ, stderr, s)
	}
	if err := write(c, learner, stdout, stderr); err != nil {
		return fail(stderr, exitFailed, fmt.Errorf("learn: %w", err))
	}
	return code
}

// newLearner makes a learner that knows what the files say.
func newLearner(c config.Config) (*learn.Learner, error) {
	about := cmp.Or(c.Learn.About, learn.Default)
	if len(c.Argv) == 0 && c.Learn.About == "" {
		about = learn.OfEvents
	}
	o := learn.Options{Name: c.Learn.Name}
	var err error
	if o.About, err = learn.ParseAbout(about); err != nil {
		return nil, fmt.Errorf("--about: %w", err)
	}
	if o.Selector, err = selector(c.Learn.Selector); err != nil {
		return nil, fmt.Errorf("--selector: %w", err)
	}
	if o.Name == "" && len(c.Argv) > 0 {
		o.Name = learn.Name(filepath.Base(c.Argv[0]))
	}
	o.Name = cmp.Or(o.Name, "learned")
	l := learn.New(o)
	for _, path := range c.Learn.Merge {
		docs, err := policies.Load(path, c.Strict)
		if err != nil {
			return nil, err
		}
		l.Merge(docs)
	}
	for _, path := range c.Learn.From {
		if err := readEvents(l, path); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return l, nil
}

// readEvents learns from a file of events.
func readEvents(l *learn.Learner, path string) error {
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	taken, others, err := l.Read(in)
	if err == nil && taken == 0 {
		return fmt.Errorf("no event of a program, a file or a socket is in it (%d others)", others)
	}
	return err
}

// selector reads labels.
func selector(list string) (map[string]string, error) {
	labels := map[string]string{}
	if list == "" {
		return labels, nil
	}
	for pair := range strings.SplitSeq(list, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q: use key=value, separated by commas", pair)
		}
		labels[key] = value
	}
	return labels, nil
}

// apart keeps standard output for the policy: what the workload writes there goes to
// standard error.
func apart(stdout io.Writer) (io.Writer, func(), error) {
	if stdout != os.Stdout {
		return stdout, func() {}, nil
	}
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.Dup3(2, 1, 0); err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), "standard output")
	return f, func() { f.Close() }, nil
}

// write writes the policy: to a file, all of it or nothing.
func write(c config.Config, l *learn.Learner, stdout, stderr io.Writer) error {
	d, remarks, err := l.Policy()
	if err != nil {
		return err
	}
	text := learn.YAML(&d, remarks)
	if _, err := spolicy.ParseStrict("the policy that was learned", strings.NewReader(text)); err != nil {
		return err // never, and better known here than where it is to protect something
	}
	for _, r := range remarks {
		fmt.Fprintln(stderr, "tracer: learn:", r)
	}
	if c.Learn.Output == "" {
		_, err := io.WriteString(stdout, text)
		return err
	}
	part := c.Learn.Output + ".part"
	if err := os.WriteFile(part, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(part, c.Learn.Output)
}
