package emit

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/sidearmor/sidearmor/schema"
)

// maxScratch bounds the memory that is kept between events.
const maxScratch = 64 << 10

// encoder makes the text of one event at a time.
type encoder struct {
	format Format

	mu      sync.Mutex
	encoder schema.Encoder
	scratch []byte
}

// encode hands the text of ev to use, which must not keep it.
func (e *encoder) encode(ev *schema.Event, use func(text []byte, err error)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	text, err := e.text(ev)
	if use(text, err); cap(text) <= maxScratch {
		e.scratch = text[:0]
	}
}

// text encodes one event. An event of a size that the sidekick would refuse is
// shortened: a program must not hide behind an argument of a megabyte.
func (e *encoder) text(ev *schema.Event) ([]byte, error) {
	text, err := e.marshal(ev)
	if err == nil && len(text) > schema.MaxStringBytes {
		if ev.Alert != nil {
			// The list may be the policy's own, which Clip must not write to.
			ev.Alert.ATags = slices.Clone(ev.Alert.ATags)
		}
		ev.Clip()
		text, err = e.marshal(ev)
	}
	return text, err
}

func (e *encoder) marshal(ev *schema.Event) ([]byte, error) {
	if e.format == Falco {
		return json.Marshal(ev.ToFalco())
	}
	return e.encoder.Append(e.scratch[:0], ev)
}
