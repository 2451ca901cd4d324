package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policydir"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/simulate"
)

// simulation is what "sidekick policy simulate" was asked for.
type simulation struct {
	files   []string // policy files and directories, at least one
	events  string   // a file, "-" for standard input, "" for what the sidekick holds
	since   string   // of what the sidekick holds; "" for defaultSince
	posture string   // for files and sockets that an allow list does not name
	limit   int      // lines that are shown, 0 for all
	json    bool
}

// arguments reads what comes after "policy".
func (c *simulation) arguments(args []string) error {
	if len(args) == 0 || args[0] != "simulate" {
		return errors.New("policy: \"simulate\" is what it can do")
	}
	c.files = args[1:]
	switch {
	case len(c.files) == 0:
		return errors.New("policy simulate: no policy file given")
	case c.events != "" && c.since != "":
		return errors.New("policy simulate: --since is about the events that the sidekick holds, not about those of --events")
	case c.limit < 0:
		return errors.New("--limit is less than 0")
	}
	if c.since == "" {
		c.since = defaultSince
	}
	if _, err := sinceTime(c.since, time.Now()); err != nil {
		return fmt.Errorf("policy simulate: --since: %w", err)
	}
	return nil
}

// simulatePolicies says what policies would have done to events of the past.
func simulatePolicies(ctx context.Context, in config.Input, environ []string, c *simulation, stdout, stderr io.Writer) error {
	docs, err := readPolicies(c.files, stderr)
	if err != nil {
		return err
	}
	s, err := simulate.New(docs, rules.Posture{File: c.posture, Network: c.posture, Capabilities: c.posture})
	if err != nil {
		return err
	}
	if c.events == "" {
		err = atControl(ctx, in, environ, stderr, func(client *http.Client) error {
			return readStored(ctx, client, c.since, s.Read)
		})
	} else {
		err = readFile(c.events, s.Read)
	}
	if err != nil {
		return fmt.Errorf("policy simulate: %w", err)
	}
	report := s.Report()
	if c.json {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		err = out.Encode(report)
	} else {
		_, err = io.WriteString(stdout, report.Text(c.limit))
	}
	if err != nil {
		return fmt.Errorf("policy simulate: %w", err)
	}
	return nil
}

func readFile(name string, read func(io.Reader) error) error {
	file := os.Stdin
	if name != "-" {
		var err error
		if file, err = os.Open(name); err != nil {
			return err
		}
		defer file.Close()
	}
	if err := read(file); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// readPolicies reads policies as the tracer does, which passes over what KubeArmor
// passes over.
func readPolicies(paths []string, stderr io.Writer) ([]policy.Document, error) {
	var docs []policy.Document
	for _, path := range paths {
		names, err := policydir.Files(path)
		if err != nil {
			return nil, fmt.Errorf("policy simulate: %w", err)
		}
		for _, name := range names {
			read, err := readPolicy(name)
			if err != nil {
				return nil, fmt.Errorf("policy simulate: %w", err)
			}
			for i := range read {
				for _, w := range read[i].Warnings {
					fmt.Fprintln(stderr, "sidekick: warning:", w)
				}
			}
			docs = append(docs, read...)
		}
	}
	if len(docs) == 0 {
		return nil, errors.New("policy simulate: no policy in what was given")
	}
	return docs, nil
}

func readPolicy(name string) ([]policy.Document, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return policy.Parse(name, f)
}
