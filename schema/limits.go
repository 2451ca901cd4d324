package schema

// Limits of one event on its way in. They bound what a hostile sender can cost;
// no event of KubeArmor's or Falco's comes near them.
const (
	MaxEventBytes  = 1 << 20   // of the JSON text
	MaxStringBytes = 256 << 10 // of one string, unescaped
	MaxEntries     = 256       // keys of one object, items of one list
	MaxDepth       = 32        // objects and lists within each other, the event itself included
)

// MaxEnvelopeBytes bounds the JSON of an Event that was decoded within the
// limits. It is larger than MaxEventBytes because MarshalJSON writes "<" and a
// few others as six bytes, whatever the sender did.
const MaxEnvelopeBytes = 6*MaxEventBytes + 4096

// FieldError says which field of an event cannot be accepted, and why. Its text
// never has the field's value: events carry what programs were called with.
type FieldError struct {
	Field  string // as the sender spelled it, "Owner.Ref" or "ATags[2]" below the first level; "" for the event as a whole
	Reason string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}
