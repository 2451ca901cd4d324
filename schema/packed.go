package schema

import (
	"fmt"
	"slices"
	"strconv"
	"time"
	"unsafe"
)

// Packed is an event on its way into the store. The body of one that was posted is
// the text of its sender: what reads as the same event needs not be written anew.
type Packed struct {
	ID       string
	Received time.Time
	Kind     Kind

	Action, Operation string // of an event of KubeArmor's

	oid   int32
	text  []byte // the body; nil if there is event
	event *Event // nil if there is text
}

// Pack packs an event. The result refers to it.
func (e *Event) Pack() Packed {
	p := Packed{ID: e.ID, Received: e.Received, Kind: e.Kind, event: e}
	if e.Alert != nil {
		p.Action = e.Alert.Action
	}
	if r := e.Record(); r != nil {
		p.Operation = r.Operation
	}
	return p
}

// Event gives the event, which it reads if it has to.
func (p *Packed) Event() (Event, error) {
	var e Event
	if p.event != nil {
		e = *p.event
	} else if err := e.content(p.Kind, string(p.text), p.oid); err != nil {
		return Event{}, fmt.Errorf("unpacking event: %w", err)
	}
	e.ID, e.Received = p.ID, p.Received
	return e, nil
}

// Size is the number of bytes of the body as it is stored.
func (p *Packed) Size() int {
	if p.event == nil {
		return len(p.text)
	}
	body, err := p.event.Body()
	if err != nil {
		return 0
	}
	return len(body)
}

// AppendJSON appends to b what [Event.MarshalJSON] would write, or what reads as the
// same.
func (p *Packed) AppendJSON(b []byte) ([]byte, error) {
	text := p.text
	if p.event != nil {
		var err error
		if text, err = p.event.Body(); err != nil {
			return b, err
		}
	}
	b = slices.Grow(b, len(text)+len(p.ID)+128)
	b = appendString(append(b, `{"id":`...), p.ID)
	b = append(b, `,"received":"`...)
	b = p.Received.AppendFormat(b, time.RFC3339Nano)
	b = append(append(b, `","kind":"`...), p.Kind...)
	b = append(b, '"')
	if oid := p.ownerID(); oid != 0 { // the PascalCase spelling has none
		b = strconv.AppendInt(append(b, `,"oid":`...), int64(oid), 10)
	}
	b = append(append(b, `,"event":`...), text...)
	return append(b, '}'), nil
}

func (p *Packed) ownerID() int32 {
	if p.event == nil {
		return p.oid
	}
	if r := p.event.Record(); r != nil {
		return r.OID
	}
	return 0
}

// Packer packs KubeArmor's events from their text. It is for one goroutine.
type Packer struct {
	scanner scanner
	read    Alert // what is read goes here and is not kept
	after   [maxFields]*spelling
}

// Pack takes what Decode takes, with the same errors, and keeps body, which must
// not be changed any more.
func (p *Packer) Pack(body []byte) (Packed, error) {
	if err := acceptable(body, true); err != nil {
		return Packed{}, err
	}
	s := &p.scanner
	*s = scanner{
		// Not copied: nobody writes to body.
		text: unsafe.String(unsafe.SliceData(body), len(body)), limited: true,
		checking: true, after: &p.after, path: s.path[:0], keys: s.keys[:0],
	}
	p.read = Alert{}
	if err := s.kubeArmor(&p.read); err != nil {
		return Packed{}, err
	}
	if s.foreign || s.empty || s.broken || s.blank > len(body)/8 {
		// Of this the store would hold what nobody ever reads, or what many refuse.
		e, err := Decode(body)
		return e.Pack(), err
	}
	kind := p.read.kind()
	packed := Packed{Kind: kind, Operation: p.read.Operation, oid: p.read.OID, text: body}
	if kind == KindAlert {
		packed.Action = p.read.Action
	}
	return packed, nil
}
