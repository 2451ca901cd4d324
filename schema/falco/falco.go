// Package falco reads Falco events by FalcoSidekick's own types and check. What
// becomes of an event afterwards is FalcoSidekick's newFalcoPayload and not here.
package falco

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/falcosecurity/falcosidekick/types"

	"github.com/sidearmor/sidearmor/schema"
)

// Decode reads one Falco event. It takes what FalcoSidekick takes, and events whose
// output fields are null or none, as Falco writes them for a rule without any. It
// refuses what FalcoSidekick does not, but schema of every event: duplicate keys, text after the
// event, invalid UTF-8, what exceeds the limits. The error is a
// *schema.FieldError. Numbers among the output fields stay json.Number. ID and
// Received of the result are zero.
func Decode(body []byte) (schema.Event, error) { return DecodeWith(body, nil) }

// DecodeWith is Decode for an event that gets more output fields, which win over
// its own. As with FalcoSidekick, one that has none by itself is then complete.
func DecodeWith(body []byte, fields map[string]string) (schema.Event, error) {
	// encoding/json takes keys in any case and lets the last of two win.
	if err := schema.Check(body, foldKey); err != nil {
		return schema.Event{}, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var p types.FalcoPayload
	if err := decoder.Decode(&p); err != nil {
		return schema.Event{}, blame(body, err)
	}
	if p.OutputFields == nil {
		p.OutputFields = make(map[string]any, len(fields))
	}
	for key, value := range fields {
		p.OutputFields[key] = value
	}
	if err := check(body, p); err != nil {
		return schema.Event{}, err
	}
	return schema.Event{Kind: schema.KindFalco, Falco: &schema.FalcoEvent{
		UUID:         p.UUID,
		Output:       p.Output,
		Priority:     schema.Priority(p.Priority), // the same scale
		Rule:         p.Rule,
		Time:         p.Time,
		OutputFields: p.OutputFields,
		Source:       p.Source,
		Tags:         p.Tags,
		Hostname:     p.Hostname,
	}}, nil
}

// check is FalcoSidekick's check. It asks for output fields; here it is enough that
// the event has the key.
func check(body []byte, p types.FalcoPayload) error {
	if len(p.OutputFields) == 0 {
		if values, _ := spelling(body); values["output_fields"] == nil {
			return lack(body, &p)
		}
		p.OutputFields = map[string]any{"": nil}
	}
	if !p.Check() {
		return lack(body, &p)
	}
	return nil
}

// keys are those of types.FalcoPayload, in its order.
func keys() []string {
	return []string{"uuid", "output", "priority", "rule", "time", "output_fields", "source", "tags", "hostname"}
}

// foldKey gives the key that a key of the event's first level stands for.
func foldKey(key string) string {
	for _, k := range keys() {
		if strings.EqualFold(k, key) {
			return k
		}
	}
	return key
}

// spelling gives the value of every key that the event has and how the sender
// spelled it, by the keys of types.FalcoPayload.
func spelling(body []byte) (values map[string]json.RawMessage, spelled map[string]string) {
	var sent map[string]json.RawMessage
	if json.Unmarshal(body, &sent) != nil {
		return nil, nil // cannot be: schema.Check has read it
	}
	values, spelled = make(map[string]json.RawMessage), make(map[string]string)
	for key, value := range sent {
		values[foldKey(key)], spelled[foldKey(key)] = value, key
	}
	return values, spelled
}

// blame finds the field that made decoding fail by decoding each by itself: the
// errors of encoding/json name the field for some types and not for others.
func blame(body []byte, cause error) error {
	values, spelled := spelling(body)
	for _, key := range keys() {
		value, ok := values[key]
		if !ok {
			continue
		}
		if reason := mistyped(key, value); reason != "" {
			return &schema.FieldError{Field: spelled[key], Reason: reason}
		}
	}
	return &schema.FieldError{Reason: "not a Falco event: " + cause.Error()}
}

// mistyped says what is wrong with the type of a value, or "".
func mistyped(key string, value json.RawMessage) string {
	var into any
	var want string
	switch key {
	case "uuid", "output", "priority", "rule", "source", "hostname":
		into, want = new(string), "must be a string"
	case "time":
		into, want = new(time.Time), "must be a time as in RFC 3339: 2006-01-02T15:04:05Z"
	case "output_fields":
		into, want = new(map[string]any), "must be an object"
	case "tags":
		into, want = new([]string), "must be a list of strings"
	default:
		return ""
	}
	if json.Unmarshal(value, into) == nil {
		return ""
	}
	return want
}

// lack says why types.FalcoPayload.Check refuses p, in the order of its checks.
func lack(body []byte, p *types.FalcoPayload) error {
	_, spelled := spelling(body)
	fail := func(key, reason string) error {
		if as, ok := spelled[key]; ok {
			return &schema.FieldError{Field: as, Reason: reason}
		}
		return &schema.FieldError{Field: key, Reason: "is missing"}
	}
	switch {
	case p.Priority.String() == "":
		_, err := schema.ParsePriority("")
		_, known, _ := strings.Cut(fmt.Sprint(err), ": ")
		return fail("priority", "is not known: "+known)
	case p.Rule == "":
		return fail("rule", "is empty")
	case p.Time.IsZero():
		return fail("time", "is empty")
	case len(p.OutputFields) == 0:
		return fail("output_fields", "is missing")
	}
	return &schema.FieldError{Reason: "FalcoSidekick's check refuses the event"}
}
