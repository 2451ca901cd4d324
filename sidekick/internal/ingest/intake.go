package ingest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/sidearmor/sidearmor/schema"
)

// Intake has the handlers of the paths by which events come, and those of probes,
// and is the way in for events that come otherwise.
type Intake struct{ handler *handler }

// Events takes what is posted: see docs/sidekick/operate.md, Wire format.
func (i *Intake) Events(w http.ResponseWriter, r *http.Request) { i.handler.events(w, r) }

// Test makes an event that every output gets.
func (i *Intake) Test(w http.ResponseWriter, r *http.Request) { i.handler.test(w, r) }

// Readyz says whether events can be stored.
func (i *Intake) Readyz(w http.ResponseWriter, r *http.Request) { i.handler.readyz(w, r) }

// Metrics is the page for Prometheus.
func (i *Intake) Metrics(w http.ResponseWriter, r *http.Request) { i.handler.page(w, r) }

// Lost counts a request that is refused before a handler here sees it, and has the
// log tell of it.
func (i *Intake) Lost(r *http.Request, reason, why string) {
	i.handler.metrics.inputs.WithLabelValues("requests", "rejected").Inc()
	i.handler.tell(r, reason, why, 1)
}

// Take stores events that came by another way than HTTP, enriched and counted as
// those that are posted; source is the label. It gives those that could not be
// stored but may be later, and why. They keep their IDs.
func (i *Intake) Take(ctx context.Context, source string, events []schema.Event) (retry []schema.Event, err error) {
	h, now := i.handler, time.Now().UTC()
	for n := range events {
		if e := &events[n]; e.ID == "" {
			e.ID, e.Received = uuid.NewString(), now
			h.enrich(e)
		}
	}
	packed := make([]schema.Packed, len(events))
	for n := range events {
		packed[n] = events[n].Pack()
	}
	err = h.store.Publish(ctx, packed, false)
	var some interface{ Refused() map[int]error }
	if err != nil && !errors.As(err, &some) {
		return events, err
	}
	var refused map[int]error
	if some != nil {
		refused = some.Refused()
	}
	accepted := h.metrics.inputs.WithLabelValues(source, "accepted")
	for n := range events {
		if refused[n] == nil {
			h.accepted(&packed[n])
			accepted.Inc()
			continue
		}
		v := storeRejection(refused[n])
		if v.retry {
			retry = append(retry, events[n])
			continue
		}
		h.log.Error("event cannot be stored and is lost", "from", source, "error", refused[n])
		h.metrics.reject(v.reason)
		h.metrics.inputs.WithLabelValues(source, "rejected").Inc()
	}
	return retry, err
}
