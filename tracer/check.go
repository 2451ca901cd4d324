package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sidearmor/sidearmor/schema/policydir"
	"github.com/sidearmor/sidearmor/tracer/internal/config"
	"github.com/sidearmor/sidearmor/tracer/internal/explain"
)

// check says what policies mean.
func check(c config.Config, stdout io.Writer) error {
	var all []explain.File
	for _, path := range c.Files {
		names, err := policydir.Files(path)
		if err != nil {
			return fmt.Errorf("policy check: %w", err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				return fmt.Errorf("policy check: %w", err)
			}
			all = append(all, explain.Explain(name, text, c.Strict, filepath.EvalSymlinks))
		}
	}
	var wrong error
	for i := range all {
		if len(all[i].Errors) > 0 || c.Strict && all[i].Doubts() {
			wrong = errors.New("policy check: not all is right")
		}
	}
	if c.JSON {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		return errors.Join(out.Encode(all), wrong)
	}
	for i := range all {
		if _, err := io.WriteString(stdout, all[i].Text()); err != nil {
			return fmt.Errorf("policy check: %w", err)
		}
	}
	return wrong
}
