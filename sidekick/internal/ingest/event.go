package ingest

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/falco"
)

// testRule is FalcoSidekick's name of the event that /test makes.
const testRule = "Test rule"

var errTooLarge = errors.New("event is too large")

// pack reads one event and has it as it is to be stored, but for its ID and the time.
func (h *handler) pack(item []byte, packer *schema.Packer) (schema.Packed, error) {
	var e schema.Event
	var err error
	switch {
	case len(h.custom) > 0: // they are not in item
		e, err = decode(item, h.custom)
	case len(item) > schema.MaxEventBytes:
		err = tooLarge(item)
	default:
		// What Pack takes is KubeArmor's. To classify it first would read it twice.
		p, failed := packer.Pack(item)
		if failed == nil {
			return p, nil
		}
		e, err = decodeOther(item, nil)
	}
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
		return schema.Event{}, tooLarge(item)
	}
	if e, err := schema.Decode(item); err == nil {
		return e, nil
	}
	return decodeOther(item, custom)
}

// decodeOther reads what is no sound event of KubeArmor's. Its errors are about what
// the event seems to be.
func decodeOther(item []byte, custom map[string]string) (schema.Event, error) {
	kind, err := schema.Classify(item)
	if err != nil {
		return schema.Event{}, err
	}
	if kind == schema.KindFalco {
		return falco.DecodeWith(item, custom)
	}
	return schema.Decode(item)
}

func tooLarge(item []byte) error {
	return fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, len(item), schema.MaxEventBytes)
}

// enrich adds what FalcoSidekick adds, in its order (handlers.go,
// newFalcoPayload); Falco events have the custom fields already. In KubeArmor
// events they go into EventData, the one place that takes any key.
func (h *handler) enrich(e *schema.Event) {
	if f := e.Falco; f != nil {
		if f.Rule == testRule {
			f.Source = "internal"
		}
		if f.Source == "" {
			f.Source = "syscalls"
		}
		f.UUID = uuid.NewString()
		slices.Sort(f.Tags)
		return
	}
	if len(h.custom) == 0 {
		return
	}
	var data *map[string]string
	if e.Alert != nil {
		data = &e.Alert.EventData
	} else {
		data = &e.Log.EventData
	}
	if *data == nil {
		*data = make(map[string]string, len(h.custom))
	}
	maps.Copy(*data, h.custom)
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
	return verdict{Status: "rejected", Error: err.Error(), reason: "unavailable", later: true}
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
