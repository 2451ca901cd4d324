package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/config"
	"github.com/sidearmor/sidearmor/tracer/internal/policies"
	"github.com/sidearmor/sidearmor/tracer/internal/trial"
)

// testPolicies runs a command under policies, and says of each decision which rule made
// it. It ends as the command does.
func testPolicies(c config.Config, environ []string, stderr io.Writer) int {
	var docs []spolicy.Document
	var errs []error
	for _, path := range c.Files {
		loaded, err := policies.Load(path, c.Strict)
		docs, errs = append(docs, loaded...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fail(stderr, exitFailed, fmt.Errorf("policy test: %w", err))
	}
	tried, err := trial.New(docs, func(docs []spolicy.Document) (*rules.Rules, error) {
		hub, err := trialHub(c.Posture, docs, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		return hub.Rules(), nil
	})
	if err != nil {
		return fail(stderr, exitFailed, fmt.Errorf("policy test: %w", err))
	}
	c.SidekickURL = config.URL{} // what happens in a trial concerns nobody
	code := runWorkload(c, environ, stderr, tried)
	if err := tell(tried, c, stderr); err != nil {
		return fail(stderr, exitFailed, fmt.Errorf("policy test: %w", err))
	}
	return code
}

// trialHub has documents in force, with links on the way to what they name followed.
func trialHub(posture rules.Posture, docs []spolicy.Document, log *slog.Logger) (*policies.Hub, error) {
	hub, err := policies.New(policies.Options{Posture: posture, Log: log})
	if err == nil {
		hub.Set("policy test", docs)
	}
	return hub, err
}

// tell writes what became of the run.
func tell(tried *trial.Trial, c config.Config, stderr io.Writer) (err error) {
	report, err := tried.Report()
	if err != nil {
		return err
	}
	text := []byte(report.Text())
	if c.JSON {
		if text, err = json.MarshalIndent(report, "", "  "); err != nil {
			return err
		}
		text = append(text, '\n')
	}
	if c.Report != "" {
		return os.WriteFile(c.Report, text, 0o644)
	}
	_, err = stderr.Write(text)
	return err
}
