package ingest

import (
	"fmt"

	"github.com/sidearmor/sidearmor/schema"
)

// Read is one event of a body, or why it would be refused.
type Read struct {
	Event schema.Event
	Err   error
}

// ReadEvents reads a body as a request with it would be read, but stores nothing.
// An error is about the body as a whole.
func ReadEvents(body []byte, customFields map[string]string) ([]Read, error) {
	if len(body) > MaxBodyBytes {
		return nil, fmt.Errorf("body has more than %d bytes", MaxBodyBytes)
	}
	items, err := split("", body)
	if err != nil {
		return nil, err
	}
	h := &handler{custom: customFields}
	all := make([]Read, len(items))
	for i, item := range items {
		e, err := decode(item, customFields)
		if err != nil {
			all[i].Err = err
			continue
		}
		e.ID = eventID("check", i)
		h.enrich(&e)
		all[i].Event = e
	}
	return all, nil
}
