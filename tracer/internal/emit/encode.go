package emit

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"
	"unsafe"

	"github.com/sidearmor/sidearmor/schema"
)

// encodeChunk events are taken at a time, so that the lock is held briefly.
const encodeChunk = 64

// encodeAll encodes what arrives until ctx ends.
func (e *Emitter) encodeAll(ctx context.Context) {
	chunk := make([]rawEvent, encodeChunk)
	closing := e.closing
	for {
		select {
		case <-e.arrived:
			e.gatherRaw(ctx)
		case <-closing:
			closing = nil // what is there now is the last
		case <-ctx.Done():
			return
		}
		for n := e.buffer.takeRaw(chunk); n > 0; n = e.buffer.takeRaw(chunk) {
			for i := range chunk[:n] {
				e.encode(&chunk[i])
			}
			clear(chunk[:n])
			signal(e.encoded)
		}
		signal(e.encoded) // at the end the sender also waits to hear that there is nothing
	}
}

// gatherRaw lets more events arrive, until there are many or it is the end.
func (e *Emitter) gatherRaw(ctx context.Context) {
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.arrived:
	case <-e.closing:
	case <-ctx.Done():
	}
}

func (e *Emitter) encode(r *rawEvent) {
	text, err := e.text(&r.ev)
	if err != nil {
		e.logger.Error("an event cannot be sent", "error", err)
		e.buffer.encoded(r, nil, notEncoded)
		return
	}
	e.buffer.encoded(r, text, 0)
}

// text encodes one event, into a slice without room to spare. An event of a
// size that the sidekick would refuse is shortened: a program must not hide
// behind an argument of a megabyte.
func (e *Emitter) text(ev *schema.Event) ([]byte, error) {
	text, err := e.marshal(ev)
	if err == nil && len(text) > schema.MaxStringBytes {
		if ev.Alert != nil {
			// The list may be the policy's own, which Clip must not write to.
			ev.Alert.ATags = slices.Clone(ev.Alert.ATags)
		}
		ev.Clip()
		text, err = e.marshal(ev)
	}
	if err != nil {
		return nil, err
	}
	if cap(text)-len(text) > len(text)/8 {
		text = bytes.Clone(text)
	}
	return text, nil
}

func (e *Emitter) marshal(ev *schema.Event) ([]byte, error) {
	if e.options.Format == Falco {
		return json.Marshal(ev.ToFalco())
	}
	return ev.Body()
}

// footprint estimates the memory of a raw event. The strings of its origin are
// shared by all events and not counted.
func footprint(ev *schema.Event) int {
	size := int(unsafe.Sizeof(rawEvent{}))
	switch {
	case ev.Alert != nil:
		a := ev.Alert
		size += int(unsafe.Sizeof(*a)) + recordFootprint(&a.Record) + len(a.Message) + len(a.Tags) + 16*len(a.ATags)
	case ev.Log != nil:
		size += int(unsafe.Sizeof(*ev.Log)) + recordFootprint(&ev.Log.Record)
	case ev.Falco != nil:
		size += int(unsafe.Sizeof(*ev.Falco)) + len(ev.Falco.Output) + 128*len(ev.Falco.OutputFields)
	}
	return size
}

func recordFootprint(r *schema.Record) int {
	size := len(r.Source) + len(r.Resource) + len(r.Data) + len(r.Cwd) +
		len(r.ProcessName) + len(r.ParentProcessName) + len(r.UpdatedTime) + len(r.TTY)
	if len(r.EventData) > 0 {
		size += 48 + 8*(16+int(unsafe.Sizeof(""))*2) // a map of up to eight
		for k, v := range r.EventData {
			size += len(k) + len(v)
		}
	}
	if r.ExecEvent != nil {
		size += int(unsafe.Sizeof(*r.ExecEvent)) + len(r.ExecEvent.ExecutableName)
	}
	return size
}

// dueAt is when a batch with a line of that time must go.
func dueAt(oldest time.Time) time.Time { return oldest.Add(maxBatchAge - gatherTime) }
