package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/falco"
)

var errTooLarge = errors.New("event is too large")

// pack reads one event and has it as it is to be stored, but for its ID and the time.
func (h *handler) pack(item []byte, packer *schema.Packer) (schema.Packed, error) {
	// What Pack takes is KubeArmor's. To classify it first would read it twice.
	if !h.enricher.KubeArmor() && len(item) <= schema.MaxEventBytes {
		if p, err := packer.Pack(item); err == nil {
			return p, nil
		}
	}
	return h.packOther(item)
}

// packOther is pack for what has to be changed, or is no sound event of KubeArmor's.
func (h *handler) packOther(item []byte) (schema.Packed, error) {
	e, err := decode(item, h.enricher.CustomFields())
	if err != nil {
		return schema.Packed{}, err
	}
	h.enrich(&e)
	return e.Pack(), nil
}

// decode reads one event of whatever kind it is by its content. A Falco event gets
// the custom fields.
func decode(item []byte, custom map[string]string) (schema.Event, error) {
	if len(item) > schema.MaxEventBytes {
		return schema.Event{}, fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, len(item), schema.MaxEventBytes)
	}
	if !bytes.Contains(item, []byte(`"output_fields"`)) {
		if e, err := schema.Decode(item); err == nil {
			return e, nil
		}
	}
	kind, err := schema.Classify(item)
	if err != nil {
		return schema.Event{}, err
	}
	if kind == schema.KindFalco {
		return falco.DecodeWith(item, custom)
	}
	return schema.Decode(item)
}

// enrich adds what the settings ask for. A template that cannot be evaluated is told
// now and then: what is posted must not fill the log.
func (h *handler) enrich(e *schema.Event) {
	err := h.enricher.Apply(e)
	if err == nil {
		return
	}
	if n := h.templates.Add(1, time.Now()); n > 0 {
		h.log.Warn("templated fields cannot be evaluated", "events", n, "last", err)
	}
}

// rejection is the verdict on an event that cannot be decoded.
func rejection(err error) verdict {
	v := verdict{Status: "rejected", Error: err.Error(), reason: "malformed"}
	var field *schema.FieldError
	if errors.As(err, &field) {
		v.Field = field.Field
	}
	if errors.Is(err, errTooLarge) {
		v.reason = "too_large"
	}
	return v
}

// storeRejection is the verdict on an event that was not stored.
func storeRejection(err error) verdict {
	var p interface{ Permanent() bool }
	if errors.As(err, &p) && p.Permanent() {
		return verdict{Status: "rejected", Error: err.Error(), reason: "too_large"}
	}
	return verdict{Status: "rejected", Error: err.Error(), reason: "unavailable", retry: true}
}

// accepted counts an event that is stored, and shows it to who asked for DEBUG:
// what it was about, but nothing that a program was called with.
func (h *handler) accepted(p *schema.Packed) {
	if p.Kind != schema.KindFalco && !h.debug {
		h.metrics.kubeArmor(p)
		return
	}
	e, err := p.Event()
	if err != nil { // of none that was taken
		h.log.Error("event that is stored cannot be read", "id", p.ID, "error", err)
		return
	}
	if e.Falco != nil {
		h.metrics.falcoEvent(e.Falco)
	} else {
		h.metrics.kubeArmor(p)
	}
	if h.debug {
		h.log.Debug("event stored", "id", e.ID, "kind", string(e.Kind), "priority", e.Priority().String(), "what", about(&e))
	}
}

func about(e *schema.Event) string {
	switch {
	case e.Falco != nil:
		return e.Falco.Rule
	case e.Alert != nil:
		return e.Alert.PolicyName + ": " + e.Alert.Operation + " " + e.Alert.Action
	}
	return e.Log.Operation
}
