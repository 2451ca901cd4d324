// Package outputtest is the conformance suite that every output passes, with
// the events and helpers that it is made of. It asserts nothing about how an
// output's messages look: that is what each output's golden files are for.
package outputtest

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// patience is how long the suite waits for what should come at once. It is no
// assertion about time: only a hang reaches it.
const patience = 30 * time.Second

// Spec describes an output that speaks HTTP to the suite.
type Spec struct {
	Kind outputs.Kind
	// Settings make the output send to the server at base (scheme and host).
	// It may call t.Setenv.
	Settings func(t testing.TB, base string) Settings
	// Answer is what the service answers when it takes what it was sent; nil
	// for 200 and no body.
	Answer http.HandlerFunc
	// AnswerCounts says that the body of a success tells what was taken, so that
	// one which breaks off is no success.
	AnswerCounts bool
	// Classes are the statuses for which the output differs from the common
	// table, with the class that it gives instead.
	Classes map[int]outputs.Class
	// Check fails the test when a request is not one that the service takes.
	Check func(t testing.TB, r *http.Request, body []byte)
}

// Outages are the statuses by which a service complains of a key or an address, for
// outputs that wait until it is put right.
func Outages() map[int]outputs.Class {
	classes := map[int]outputs.Class{}
	for _, code := range []int{
		http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusGone,
	} {
		classes[code] = outputs.Transient
	}
	return classes
}

// Run tries everything on the output.
func Run(t *testing.T, s Spec) {
	before := runtime.NumGoroutine()
	t.Run("declaration", func(t *testing.T) { Declaration(t, s.Kind) })
	t.Run("statuses", s.statuses)
	t.Run("retry-after", s.retryAfter)
	t.Run("redirect", s.redirect)
	t.Run("elsewhere", s.elsewhere)
	t.Run("unresolvable", s.unresolvable)
	t.Run("faults", s.faults)
	t.Run("hang", s.hang)
	t.Run("cancelled", s.cancelled)
	t.Run("endless answer", s.endless)
	t.Run("cut answer", s.cut)
	t.Run("certificates", s.certificates)
	t.Run("bad certificates", s.badCertificates)
	t.Run("events", s.events)
	t.Run("digests", s.digests)
	t.Run("concurrency", s.concurrency)
	// The subtest itself is one more.
	t.Run("leaks", func(t *testing.T) { Leaks(t, before+1) })
}

// Declaration checks what a Kind says of itself.
func Declaration(t *testing.T, k outputs.Kind) {
	if k.Name == "" || k.Block == "" || k.New == nil {
		t.Errorf("incomplete kind: %+v", k)
	}
	if k.Limits.BatchEvents < 1 || k.Limits.Timeout <= 0 {
		t.Errorf("useless limits: %+v", k.Limits)
	}
	if k.Limits.BatchEvents > 1 && k.Limits.BatchDelay <= 0 {
		t.Error("batches that never wait are never filled")
	}
	seen := map[string]bool{}
	for _, setting := range k.Settings {
		switch {
		case setting.Key == "" || setting.Key != strings.ToLower(setting.Key) || strings.ContainsAny(setting.Key, "._ "):
			t.Errorf("setting %q: keys are lower-case words", setting.Key)
		case setting.Block == "" && slices.Contains([]string{"name", "minimumpriority", "filter", "logs", "digest_window"}, setting.Key):
			t.Errorf("setting %q is one that every output has", setting.Key)
		case setting.Key[0] >= '0' && setting.Key[0] <= '9':
			t.Errorf("setting %q begins like the number of another output of the kind", setting.Key)
		case seen[setting.Key]:
			t.Errorf("setting %q is declared twice", setting.Key)
		case setting.Usage == "":
			t.Errorf("setting %q has no usage text", setting.Key)
		case setting.Secret && setting.Default != "":
			t.Errorf("secret setting %q has a default", setting.Key)
		}
		seen[setting.Key] = true
	}
	if !seen[k.Enabler] {
		t.Errorf("enabler %q is not a setting", k.Enabler)
	}
}

// Deliver calls it and fails the test when it hangs, leaks the secret or
// gives an *Error that breaks its contract.
func Deliver(ctx context.Context, t testing.TB, o outputs.Output, batch []schema.Event) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- o.Deliver(ctx, batch) }()
	select {
	case err := <-done:
		checkError(t, err, len(batch))
		return err
	case <-time.After(patience):
		t.Fatal("Deliver does not return")
		return nil
	}
}

func checkError(t testing.TB, err error, n int) {
	t.Helper()
	for e := err; e != nil; e = unwrap(e) {
		NoSecret(t, e)
	}
	oe, ok := errors.AsType[*outputs.Error](err)
	if !ok {
		return
	}
	for _, i := range oe.Failed {
		if i < 0 || i >= n {
			t.Errorf("Failed names event %d of %d", i, n)
		}
	}
	if oe.Class == outputs.Permanent && oe.RetryAfter != 0 {
		t.Errorf("a permanent failure asks to wait for %v", oe.RetryAfter)
	}
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

// Class is the class of a failed delivery; any error that is no *Error counts
// as transient.
func Class(err error) outputs.Class {
	if oe, ok := errors.AsType[*outputs.Error](err); ok {
		return oe.Class
	}
	return outputs.Transient
}

// events delivers every kind of event, checks what arrives, and that the
// events are as they were.
func (s Spec) events(t *testing.T) {
	r := newReceiver(t, s)
	o := New(t, s.Kind, s.Settings(t, r.URL))
	NoSecret(t, o)
	for _, c := range append(Cases(), Oversized()...) {
		t.Run(c.Name, func(t *testing.T) {
			r.reset(t, nil)
			twin := findCase(c.Name)
			if err := Deliver(t.Context(), t, o, []schema.Event{c.Event}); err != nil {
				t.Fatalf("the service took it, Deliver says: %v", err)
			}
			if r.requests() == 0 {
				t.Error("nothing was sent")
			}
			if !reflect.DeepEqual(c.Event, twin) {
				t.Error("the event was changed")
			}
		})
	}
	t.Run("no events", func(t *testing.T) {
		r.reset(t, nil)
		if err := Deliver(t.Context(), t, o, nil); err != nil || r.requests() != 0 {
			t.Errorf("%d requests, error %v", r.requests(), err)
		}
	})
	t.Run("several events", func(t *testing.T) {
		r.reset(t, nil)
		batch := []schema.Event{Log(), BlockedExec(), AuditedConnect()}
		if err := Deliver(t.Context(), t, o, batch); err != nil {
			t.Error(err)
		}
		r.reset(t, status(http.StatusBadRequest))
		if err := Deliver(t.Context(), t, o, batch); err == nil || Class(err) != outputs.Permanent {
			t.Errorf("all refused: got %v", err)
		}
	})
}

func findCase(name string) schema.Event {
	for _, c := range append(Cases(), Oversized()...) {
		if c.Name == name {
			return c.Event
		}
	}
	return schema.Event{}
}

// concurrency delivers the same events by several outputs at once, as the
// dispatcher does; the race detector judges.
func (s Spec) concurrency(t *testing.T) {
	r := newReceiver(t, s)
	settings := s.Settings(t, r.URL)
	var batch []schema.Event
	for _, c := range Cases() {
		batch = append(batch, c.Event)
	}
	var wg sync.WaitGroup
	for range 4 {
		o := New(t, s.Kind, settings)
		wg.Go(func() {
			if err := o.Deliver(t.Context(), batch); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Leaks waits for what ends by itself once its server is gone, until there are no
// more goroutines than before.
func Leaks(t testing.TB, before int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if runtime.NumGoroutine() <= before {
			return
		}
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("goroutines are left over:\n%s", stacks[:runtime.Stack(stacks, true)])
}
