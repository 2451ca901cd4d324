package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/ingest"
)

// errNotTaken says that sidekick test has told which outputs failed.
var errNotTaken = errors.New("not every output has taken the event")

// deafness is how long an output may go on after its time is up before it is left.
const deafness = 5 * time.Second

// testOutputs sends a sample event through one output, or through all with only "",
// and says what each answers. Neither the queue nor a running sidekick has a part in
// it, so that it shows what is wrong with the output itself.
func testOutputs(ctx context.Context, in config.Input, only string, stdout, stderr io.Writer) (err error) {
	cfg, err := config.Load(in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOutputs(cfg.Outputs)) }()
	for _, w := range cfg.Warnings {
		fmt.Fprintln(stderr, "sidekick: warning:", w)
	}
	chosen, err := choose(cfg.Outputs, only)
	if err != nil {
		return err
	}
	event, err := ingest.Sample(cfg.Enricher)
	if err != nil {
		return err
	}
	if event.Warning != nil {
		fmt.Fprintln(stderr, "sidekick: warning:", event.Warning)
	}
	// All at once: those that hang would add up. They are told of in their order.
	answers := make([]<-chan error, len(chosen))
	for i, o := range chosen {
		answers[i] = sendSample(ctx, o, event.Event)
	}
	taken := true
	for i, o := range chosen {
		err := <-answers[i]
		taken = taken && err == nil
		if _, err := fmt.Fprintf(stdout, "%s: %s\n", o.Name, verdict(err)); err != nil {
			return fmt.Errorf("show answers: %w", err)
		}
	}
	if !taken {
		return errNotTaken
	}
	return nil
}

// choose gives the output of that name, or all of them.
func choose(configured []config.Output, only string) ([]config.Output, error) {
	if len(configured) == 0 {
		return nil, errors.New("no output is configured")
	}
	if only == "" {
		return configured, nil
	}
	names := make([]string, len(configured))
	for i, o := range configured {
		if o.Name == only {
			return configured[i : i+1], nil
		}
		names[i] = o.Name
	}
	return nil, fmt.Errorf("no output %q is configured, use one of: %s", only, strings.Join(names, ", "))
}

// sendSample delivers e to o within the time that o has for it.
func sendSample(ctx context.Context, o config.Output, e schema.Event) <-chan error {
	allowed := target(o).Limits.Timeout
	answer, done := make(chan error, 1), make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, allowed)
		defer cancel()
		err := o.Output.Deliver(ctx, []schema.Event{e})
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v: %w", allowed, err)
		}
		done <- err
	}()
	go func() {
		select {
		case err := <-done:
			answer <- err
		case <-time.After(allowed + deafness):
			answer <- fmt.Errorf("no answer within %v", allowed+deafness)
		}
	}()
	return answer
}

// verdict says in one line what came of a delivery. A service's own words may be in
// it, which must not move the cursor.
func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	said := printable(strings.Join(strings.Fields(err.Error()), " "))
	var failed *outputs.Error
	if !errors.As(err, &failed) {
		return "failed, would be tried again: " + said
	}
	switch failed.Class {
	case outputs.Permanent:
		return "failed, refused for good: " + said
	case outputs.RateLimited:
		return "failed, too many messages, would be tried again: " + said
	case outputs.Transient:
	}
	return "failed, would be tried again: " + said
}
