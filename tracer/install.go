package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// install copies the running program to dir/tracer, so that a container that
// has nothing but this file can put it into a volume for others. An older copy
// is replaced in one step: a container that starts meanwhile finds either.
func install(dir string) (string, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("install: opening this program: %w", err)
	}
	defer self.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("install: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".tracer-*")
	if err != nil {
		return "", fmt.Errorf("install: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails once it has been renamed
	defer tmp.Close()
	if _, err := io.Copy(tmp, self); err != nil {
		return "", fmt.Errorf("install: copying this program: %w", err)
	}
	// Readable and executable by all: the workload may run as any user.
	if err := tmp.Chmod(0o755); err != nil {
		return "", fmt.Errorf("install: %w", err)
	}
	if err := tmp.Sync(); err != nil {
		return "", fmt.Errorf("install: %w", err)
	}
	target := filepath.Join(dir, "tracer")
	if err := os.Rename(tmp.Name(), target); err != nil {
		return "", fmt.Errorf("install: %w", err)
	}
	return target, nil
}
