package outputtest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// With is s with other settings too.
func (s Spec) With(more Settings) Spec {
	settings := s.Settings
	s.Settings = func(t testing.TB, base string) Settings { return settings(t, base).With(more) }
	return s
}

// Sent gives the body of the last request that deliver makes of the output. Every
// request is checked, and deliver may not fail.
func (s Spec) Sent(t testing.TB, deliver func(outputs.Output) error) []byte {
	t.Helper()
	r := newReceiver(t, s)
	if err := deliver(New(t, s.Kind, s.Settings(t, r.URL))); err != nil {
		t.Fatal(err)
	}
	return r.last()
}

// SentEvent gives what is sent of one event.
func (s Spec) SentEvent(t testing.TB, e schema.Event) []byte {
	t.Helper()
	return s.Sent(t, func(o outputs.Output) error { return o.Deliver(t.Context(), []schema.Event{e}) })
}

// Golden compares what is sent of each of Cases with its golden file.
func (s Spec) Golden(t *testing.T) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { GoldenJSON(t, c.Name+".json", s.SentEvent(t, c.Event)) })
	}
}

// Answered makes the output send to a server that answers as answer does.
func (s Spec) Answered(t testing.TB, answer http.HandlerFunc) outputs.Output {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	return New(t, s.Kind, s.Settings(t, srv.URL))
}

// RefusedEach is Refused for several changes of settings that are right, each by what
// the error has to contain.
func RefusedEach(t testing.TB, k outputs.Kind, right Settings, changes map[string]Settings) {
	t.Helper()
	for want, change := range changes {
		Refused(t, k, right.With(change), want)
	}
}

// WantClass fails the test when err is no *outputs.Error of the class.
func WantClass(t testing.TB, err error, class outputs.Class) {
	t.Helper()
	if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != class {
		t.Errorf("got %v, want a failure of class %v", err, class)
	}
}

// WantFailed is WantClass for an error that names the events which were not taken.
func WantFailed(t testing.TB, err error, class outputs.Class, failed ...int) {
	t.Helper()
	WantClass(t, err, class)
	if e, ok := errors.AsType[*outputs.Error](err); ok && !slices.Equal(e.Failed, failed) {
		t.Errorf("events %v failed, want %v: %v", e.Failed, failed, err)
	}
}
