package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sidearmor/sidearmor/tracer/internal/config"
	"github.com/sidearmor/sidearmor/tracer/internal/doctor"
)

// examine says what this host lets the tracer do.
func examine(c config.Config, environ []string, stdout io.Writer) error {
	switch {
	case c.Wait:
		return doctor.Wait(os.Stdin, stdout)
	case c.Attack != "":
		return doctor.Attack(c.Attack, c.Port, stdout)
	}
	options := doctor.Options{
		Version: version, Environ: environ, Sidekick: c.SidekickURL.String(),
		Self: "/proc/self/exe", Child: []string{string(config.Doctor), "--wait"},
	}
	if c.Prove {
		return prove(options, c.JSON, stdout)
	}
	r := doctor.Examine(context.Background(), options)
	var err error
	if c.JSON {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		err = out.Encode(r)
	} else {
		_, err = io.WriteString(stdout, r.Text())
	}
	if err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	if !r.Ready {
		return errors.New("doctor: no workload can be run under the tracer here")
	}
	return nil
}

// prove makes attacks and says which were held.
func prove(o doctor.Options, asJSON bool, stdout io.Writer) error {
	proofs, err := doctor.Prove(context.Background(), o, os.TempDir(), "/dev/shm", ".")
	if err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	table := stdout
	if asJSON {
		table = io.Discard
		if err := json.NewEncoder(stdout).Encode(proofs); err != nil {
			return fmt.Errorf("doctor: %w", err)
		}
	}
	held, err := doctor.WriteProofs(table, proofs)
	if err == nil && !held {
		err = errors.New("not every attack was held")
	}
	if err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	return nil
}
