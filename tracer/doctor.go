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
	if c.Wait {
		return doctor.Wait(os.Stdin, stdout)
	}
	r := doctor.Examine(context.Background(), doctor.Options{
		Version: version, Environ: environ, Sidekick: c.SidekickURL.String(),
		Self: "/proc/self/exe", Child: []string{string(config.Doctor), "--wait"},
	})
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
