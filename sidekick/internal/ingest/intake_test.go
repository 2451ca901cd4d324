package ingest

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/enrich"
)

// Events that come otherwise are enriched and counted as those that are posted;
// what is refused for now is given back, to be stored under the same ID.
func TestTake(t *testing.T) {
	s := &store{refuse: func([]schema.Event) error {
		return partial{1: errors.New("full"), 2: never{errors.New("large")}}
	}}
	enricher, err := enrich.New(enrich.Options{CustomFields: map[string]string{"env": "prod"}})
	if err != nil {
		t.Fatal(err)
	}
	i := New(Options{Store: s, Enricher: enricher, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	events := make([]schema.Event, 3)
	for n := range events {
		e, err := schema.Decode([]byte(alertEvent))
		if err != nil {
			t.Fatal(err)
		}
		events[n] = e
	}
	later, err := i.Take(t.Context(), "kubearmor", events)
	if err == nil || len(later) != 1 || later[0].ID == "" || later[0].ID != events[1].ID {
		t.Fatalf("%v, %+v", err, later)
	}
	id := later[0].ID
	s.refuse = func([]schema.Event) error { return errors.New("not there") }
	if later, err = i.Take(t.Context(), "kubearmor", later); err == nil || len(later) != 1 {
		t.Fatalf("%v, %+v", err, later)
	}
	s.refuse = nil
	if later, err = i.Take(t.Context(), "kubearmor", later); err != nil || len(later) != 0 {
		t.Fatalf("%v, %+v", err, later)
	}
	if len(s.events) != 2 || s.events[1].ID != id || s.events[0].ID == id || s.once[0] {
		t.Errorf("stored %+v", s.events)
	}
	for _, e := range s.events {
		if e.Received.IsZero() || e.Alert.EventData["env"] != "prod" {
			t.Errorf("stored %+v", e)
		}
	}
	w := httptest.NewRecorder()
	i.Metrics(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`inputs_total{source="kubearmor",status="accepted"} 2`,
		`inputs_total{source="kubearmor",status="rejected"} 1`,
		`sidearmor_rejected_events_total{reason="too_large"} 1`,
		`sidearmor_kubearmor_events_total{action="Block",kind="alert",operation="File"} 2`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("metrics do not have %s", want)
		}
	}
}
