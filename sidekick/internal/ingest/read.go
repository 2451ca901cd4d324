package ingest

import (
	"fmt"

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
