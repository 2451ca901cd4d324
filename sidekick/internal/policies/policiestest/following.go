// Package policiestest follows a source of policies, for tests of sources.
package policiestest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/sidekick/internal/logtest"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// patience bounds each wait: a machine may be loaded.
const patience = 3 * time.Minute

// Following is a hub that follows one source until the test ends.
type Following struct {
	*policies.Hub
	Log *logtest.Log
	t   *testing.T
}

// Follow starts a hub with the source that is made with its log.
func Follow(t *testing.T, source func(*slog.Logger) policies.Source) *Following {
	t.Helper()
	f := &Following{t: t, Log: &logtest.Log{}}
	log := slog.New(slog.NewTextHandler(f.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.Hub = policies.New(policies.Options{Sources: []policies.Source{source(log)}, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if t.Failed() {
			t.Log(f.Log)
		}
	})
	return f
}

// Shown is what is known, as "name=path name=path", or "pending".
func (f *Following) Shown() string {
	merged := f.Snapshot().Sources[0]
	if merged.Pending {
		return "pending"
	}
	var parts []string
	for _, p := range merged.Policies {
		part := p.Name
		if len(p.File) > 0 {
			part += "=" + p.File[0].Path
		}
		parts = append(parts, part)
	}
	slices.Sort(parts) // several of one second are in any order
	return strings.Join(parts, " ")
}

// Becomes waits until Shown is as wanted.
func (f *Following) Becomes(want string) {
	f.t.Helper()
	f.Until(func() string {
		if got := f.Shown(); got != want {
			return fmt.Sprintf("known is %q, want %q", got, want)
		}
		return ""
	})
}

// Says waits until the log says something.
func (f *Following) Says(what string) {
	f.t.Helper()
	f.Until(func() string {
		if strings.Contains(f.Log.String(), what) {
			return ""
		}
		return "the log does not say: " + what
	})
}

// Until waits until nothing is missing, and fails the test with what is after a
// while.
func (f *Following) Until(ready func() (missing string)) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		missing := ready()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatal(missing)
		}
	}
}
