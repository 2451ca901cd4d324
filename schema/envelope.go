package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// bodySize is more than most bodies take.
const bodySize = 1 << 10

// Body is the JSON of what the event carries: an alert or log in PascalCase, or
// a Falco event, without line ends. Of an event that was stored it is the very text
// that was, unless that has another form.
func (e *Event) Body() ([]byte, error) {
	return (*Encoder)(nil).Append(make([]byte, 0, bodySize), e)
}

// MarshalJSON writes the event for storage: its body as it goes to the outputs,
// and beside it what the body has no place for, as
// {"id":…,"received":…,"kind":…,"oid":…,"event":<Body>}.
func (e Event) MarshalJSON() ([]byte, error) {
	p := e.Pack()
	return p.AppendJSON(nil)
}

// UnmarshalJSON reads what MarshalJSON wrote. The limits on size do not apply:
// what was once taken in must come out of the store again.
func (e *Event) UnmarshalJSON(text []byte) error {
	s, err := newScanner(text, false)
	if err != nil {
		return fmt.Errorf("decoding stored event: %w", err)
	}
	var read Event
	if err := s.stored(&read); err != nil {
		return fmt.Errorf("decoding stored event %s: %w", read.ID, err)
	}
	*e = read
	return nil
}

func (s *scanner) stored(e *Event) error {
	var kind, received, body string
	var oid int64
	err := s.document(func(key string) (err error) {
		switch key {
		case "id":
			return s.str(&e.ID)
		case "kind":
			return s.str(&kind)
		case "received":
			return s.str(&received)
		case "oid":
			oid, err = s.integer(32)
			return err
		}
		s.peek()
		start := s.at
		err = s.skip()
		if key == "event" {
			body = s.text[start:s.at]
		}
		return err
	})
	if err != nil {
		return err
	}
	if e.Received, err = time.Parse(time.RFC3339Nano, received); err != nil {
		return fmt.Errorf("received: %w", err)
	}
	return e.content(Kind(kind), body, int32(oid))
}

// content reads the body of a stored event.
func (e *Event) content(kind Kind, body string, oid int32) error {
	switch kind {
	case KindAlert, KindLog:
		a, s := new(Alert), scanText(body, false)
		if err := s.kubeArmor(a); err != nil {
			return err
		}
		if s.camel || s.blank > 0 && strings.ContainsAny(body, "\n\r") {
			body = ""
		}
		a.OID = oid
		content := a.event(kind)
		e.Alert, e.Log = content.Alert, content.Log
	case KindFalco:
		e.Falco = new(FalcoEvent)
		d := json.NewDecoder(strings.NewReader(body))
		d.UseNumber() // a float64 would round large numbers
		if err := d.Decode(e.Falco); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown kind %q", kind)
	}
	e.Kind, e.text = kind, body
	return nil
}
