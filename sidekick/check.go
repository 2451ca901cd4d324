package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/dispatch"
	"github.com/sidearmor/sidearmor/sidekick/internal/ingest"
)

// errFindings says that a dry run found what is wrong, and has said it.
var errFindings = errors.New("some events are refused, or a filter or template fails on them")

// check shows the configuration that is in effect, and which output would get
// what of the events in a file, if there is one. It delivers nothing, and neither
// opens the queue nor a port.
func check(in config.Input, events string, stdout, stderr io.Writer) (err error) {
	cfg, err := config.Load(in)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, closeOutputs(cfg.Outputs)) }()
	for _, w := range cfg.Warnings {
		fmt.Fprintln(stderr, "sidekick: warning:", w)
	}
	for _, exposed := range cfg.Exposed() {
		fmt.Fprintln(stderr, "sidekick: warning:", exposed)
	}
	if len(cfg.Outputs) == 0 {
		fmt.Fprintln(stderr, "sidekick: warning: no output is configured")
	}
	text, err := cfg.YAML()
	if err != nil {
		return err
	}
	if _, err := stdout.Write(text); err != nil {
		return fmt.Errorf("show configuration: %w", err)
	}
	if events == "" {
		return nil
	}
	body, err := readBounded(events)
	if err != nil {
		return err
	}
	list, err := ingest.ReadEvents(body, cfg.Enricher)
	if err != nil {
		return fmt.Errorf("%s: %w", events, err)
	}
	clean := true
	for i, one := range list {
		clean = dryRun(stdout, i+1, one, cfg.Outputs) && clean
	}
	if !clean {
		return errFindings
	}
	return nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, ingest.MaxBodyBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return body, nil
}

// dryRun says what would become of one event, and whether nothing is wrong.
func dryRun(w io.Writer, n int, one ingest.Read, configured []config.Output) (clean bool) {
	if one.Err != nil {
		fmt.Fprintf(w, "\nevent %d is refused: %v\n", n, one.Err)
		return false
	}
	e := &one.Event
	fmt.Fprintf(w, "\nevent %d, %s, %s: %s\n", n, e.Kind, e.Priority(), printable(e.ToFalco().Output))
	clean = one.Warning == nil
	if !clean {
		fmt.Fprintf(w, "  %v\n", one.Warning)
	}
	for _, o := range configured {
		if !o.Logs && e.Kind == schema.KindLog {
			fmt.Fprintf(w, "  %s: no, gets no KubeArmor logs\n", o.Name)
			continue
		}
		t := target(o)
		reason, err := t.Decide(e)
		switch {
		case err != nil:
			clean = false
			fmt.Fprintf(w, "  %s: yes, because the filter fails: %v\n", o.Name, err)
		case reason != "":
			fmt.Fprintf(w, "  %s: no, %s\n", o.Name, reason)
			continue
		default:
			fmt.Fprintf(w, "  %s: yes\n", o.Name)
		}
		clean = preview(w, o, e) && clean
	}
	return clean
}

func preview(w io.Writer, o config.Output, e *schema.Event) (clean bool) {
	p, ok := o.Output.(outputs.Previewer)
	if !ok {
		return true
	}
	text, err := p.Preview(e)
	fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(text, "\n", "\n  "))
	if err != nil {
		fmt.Fprintf(w, "  %s: the template fails: %v\n", o.Name, err)
	}
	return err == nil
}

// printable keeps an event's text from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// target is an output with what it is to get, but for where that comes from.
func target(o config.Output) dispatch.Target {
	t := dispatch.Target{
		Name: o.Name, Output: o.Output, More: o.More, MaxAttempts: o.MaxAttempts, Limits: o.Kind.Limits,
		MinimumPriority: o.MinimumPriority, DigestWindow: o.DigestWindow,
	}
	if b, ok := o.Output.(outputs.Batcher); ok {
		t.Limits = b.Limits()
	}
	if o.Filter != nil {
		t.Filter = o.Filter
	}
	return t
}

// closeOutputs ends what outputs keep open.
func closeOutputs(configured []config.Output) error {
	var errs []error
	for _, o := range configured {
		for _, each := range append([]outputs.Output{o.Output}, o.More...) {
			if c, ok := each.(io.Closer); ok {
				if err := c.Close(); err != nil {
					errs = append(errs, fmt.Errorf("close output %s: %w", o.Name, err))
				}
			}
		}
	}
	return errors.Join(errs...)
}
