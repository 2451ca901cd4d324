package ingest

import (
	"fmt"
	"time"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/enrich"
)

// Read is one event of a body, or why it would be refused.
type Read struct {
	Event   schema.Event
	Err     error
	Warning error // about templated fields
}

// ReadEvents reads a body as a request with it would be read, but stores nothing.
// An error is about the body as a whole.
func ReadEvents(body []byte, enricher *enrich.Enricher) ([]Read, error) {
	if len(body) > MaxBodyBytes {
		return nil, fmt.Errorf("body has more than %d bytes", MaxBodyBytes)
	}
	items, err := split("", body)
	if err != nil {
		return nil, err
	}
	all := make([]Read, len(items))
	for i, item := range items {
		e, err := decode(item, enricher.CustomFields())
		if err != nil {
			all[i].Err = err
			continue
		}
		e.ID = eventID("check", i)
		if err := enricher.Apply(&e); err != nil {
			all[i].Warning = err
		}
		all[i].Event = e
	}
	return all, nil
}

// Sample gives the event of POST /test, as an output would get it from the store.
func Sample(enricher *enrich.Enricher) (Read, error) {
	now := time.Now().UTC()
	all, err := ReadEvents(testEvent(now), enricher)
	if err != nil {
		return Read{}, fmt.Errorf("make test event: %w", err)
	}
	made := all[0]
	if made.Err != nil {
		return Read{}, fmt.Errorf("make test event: %w", made.Err)
	}
	made.Event.ID, made.Event.Received = eventID("", 0), now
	text, err := made.Event.MarshalJSON()
	if err != nil {
		return Read{}, fmt.Errorf("make test event: %w", err)
	}
	var stored schema.Event
	if err := stored.UnmarshalJSON(text); err != nil {
		return Read{}, fmt.Errorf("make test event: %w", err)
	}
	return Read{Event: stored, Warning: made.Warning}, nil
}
