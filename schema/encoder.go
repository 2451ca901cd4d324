package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Encoder writes events as Body does. It remembers what the events before said:
// the events of one container differ in little, and what is the same is copied.
// The zero Encoder is ready for use, and a nil one remembers nothing. It must not
// be used by two goroutines at a time.
type Encoder struct {
	origin     Origin
	originText []byte
	texts      [rememberedFields]remembered
}

// remembered is a field as it was last written.
type remembered struct {
	value string
	text  []byte // the field, with its key and the comma before it
}

// Fields that seldom change from one event to the next.
const (
	parentField = iota
	processField
	sourceField
	dataField
	cwdField
	ttyField
	commField
	rememberedFields
)

// maxRemembered bounds the values that are remembered, in bytes.
const maxRemembered = 1024

// Append appends the Body of ev to b. Of ev it keeps strings only.
func (e *Encoder) Append(b []byte, ev *Event) ([]byte, error) {
	switch {
	case ev.text != "":
		return append(b, ev.text...), nil
	case ev.Kind == KindAlert && ev.Alert != nil:
		return e.alert(b, ev.Alert), nil
	case ev.Kind == KindLog && ev.Log != nil:
		return e.log(b, &ev.Log.Record), nil
	case ev.Kind == KindFalco && ev.Falco != nil:
		text, err := marshal(ev.Falco)
		return append(b, text...), err
	}
	return b, fmt.Errorf("encoding event: kind %q without its content", ev.Kind)
}

// alert writes the fields of pb.Alert in the order of alertJSON.
func (e *Encoder) alert(b []byte, a *Alert) []byte {
	start := len(b)
	b = e.head(b, &a.Record)
	b = pids(b, &a.Record)
	b = e.programs(b, &a.Record)
	b = appendField(b, "PolicyName", a.PolicyName)
	b = appendField(b, "Severity", a.Severity)
	b = appendField(b, "Tags", a.Tags)
	for i, tag := range a.ATags {
		if i == 0 {
			b = append(b, `,"ATags":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendString(b, tag)
	}
	if len(a.ATags) > 0 {
		b = append(b, ']')
	}
	b = appendField(b, "Message", a.Message)
	b = e.what(b, &a.Record)
	b = appendField(b, "Enforcer", a.Enforcer)
	b = appendField(b, "Action", a.Action)
	b = e.outcome(b, &a.Record)
	b = appendNumber(b, "MaxAlertsPerSec", int64(a.MaxAlertsPerSec))
	b = appendNumber(b, "DroppingAlertsInterval", int64(a.DroppingAlertsInterval))
	b = e.execEvent(b, a.ExecEvent)
	b = appendField(b, "KubeArmorVersion", a.KubeArmorVersion)
	return object(tail(b, &a.Record), start)
}

// log writes the fields of pb.Log in the order of logJSON.
func (e *Encoder) log(b []byte, r *Record) []byte {
	start := len(b)
	b = e.head(b, r)
	b = e.programs(b, r)
	b = pids(b, r)
	b = e.what(b, r)
	b = e.outcome(b, r)
	b = e.execEvent(b, r.ExecEvent)
	return object(tail(b, r), start)
}

// object makes an object of the fields from start on, each of which begins with a
// comma.
func object(b []byte, start int) []byte {
	if len(b) == start {
		return append(b, "{}"...)
	}
	b[start] = '{'
	return append(b, '}')
}

func (e *Encoder) head(b []byte, r *Record) []byte {
	b = appendNumber(b, "Timestamp", r.Timestamp)
	b = appendField(b, "UpdatedTime", r.UpdatedTime)
	if e == nil {
		return appendOrigin(b, &r.Origin)
	}
	if e.originText == nil || e.origin != r.Origin {
		e.origin = r.Origin
		e.originText = appendOrigin(e.originText[:0], &r.Origin)
	}
	return append(b, e.originText...)
}

func appendOrigin(b []byte, o *Origin) []byte {
	if b == nil {
		b = []byte{} // an empty origin is remembered as well
	}
	b = appendField(b, "ClusterName", o.ClusterName)
	b = appendField(b, "HostName", o.HostName)
	b = appendField(b, "NamespaceName", o.NamespaceName)
	if o.Owner != nil {
		b = append(b, `,"Owner":`...)
		start := len(b)
		b = appendField(b, "Ref", o.Owner.Ref)
		b = appendField(b, "Name", o.Owner.Name)
		b = appendField(b, "Namespace", o.Owner.Namespace)
		b = object(b, start)
	}
	b = appendField(b, "PodName", o.PodName)
	b = appendField(b, "Labels", o.Labels)
	b = appendField(b, "ContainerID", o.ContainerID)
	b = appendField(b, "ContainerName", o.ContainerName)
	return appendField(b, "ContainerImage", o.ContainerImage)
}

func pids(b []byte, r *Record) []byte {
	b = appendNumber(b, "HostPPID", int64(r.HostPPID))
	b = appendNumber(b, "HostPID", int64(r.HostPID))
	b = strconv.AppendInt(append(b, `,"PPID":`...), int64(r.PPID), 10)
	b = appendNumber(b, "PID", int64(r.PID))
	return strconv.AppendInt(append(b, `,"UID":`...), int64(r.UID), 10)
}

func (e *Encoder) programs(b []byte, r *Record) []byte {
	b = e.field(b, parentField, "ParentProcessName", r.ParentProcessName)
	return e.field(b, processField, "ProcessName", r.ProcessName)
}

func (e *Encoder) what(b []byte, r *Record) []byte {
	b = appendField(b, "Type", r.Type)
	b = e.field(b, sourceField, "Source", r.Source)
	b = appendField(b, "Operation", r.Operation)
	b = appendField(b, "Resource", r.Resource)
	b = e.field(b, dataField, "Data", r.Data)
	return appendWords(b, r.EventData)
}

func appendWords(b []byte, words map[string]string) []byte {
	if len(words) == 0 {
		return b
	}
	var few [8]string
	keys := few[:0]
	for key := range words {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b = append(b, `,"EventData":`...)
	start := len(b)
	for _, key := range keys {
		b = append(appendString(append(b, ','), key), ':')
		b = appendString(b, words[key])
	}
	return object(b, start)
}

func (e *Encoder) outcome(b []byte, r *Record) []byte {
	b = appendField(b, "Result", r.Result)
	b = e.field(b, cwdField, "Cwd", r.Cwd)
	return e.field(b, ttyField, "TTY", r.TTY)
}

func (e *Encoder) execEvent(b []byte, x *ExecEvent) []byte {
	if x == nil {
		return b
	}
	b = append(b, `,"ExecEvent":`...)
	start := len(b)
	b = appendField(b, "ExecID", x.ExecID)
	b = e.field(b, commField, "ExecutableName", x.ExecutableName)
	return object(b, start)
}

func tail(b []byte, r *Record) []byte {
	b = appendField(b, "NodeID", r.NodeID)
	b = appendField(b, "ProcessHash", r.ProcessHash)
	b = appendField(b, "ParentHash", r.ParentHash)
	b = appendField(b, "ResourceHash", r.ResourceHash)
	b = appendField(b, "HashAlgo", r.HashAlgo)
	return appendField(b, "UserName", r.UserName)
}

// field writes a field that is remembered.
func (e *Encoder) field(b []byte, which int, key, value string) []byte {
	if e == nil || value == "" || len(value) > maxRemembered {
		return appendField(b, key, value)
	}
	last := &e.texts[which]
	if last.value != value {
		last.value, last.text = value, appendField(last.text[:0], key, value)
	}
	return append(b, last.text...)
}

// appendField writes a field with a comma before it, or nothing where it is empty.
func appendField(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, `,"`...), key...), `":`...)
	return appendString(b, value)
}

func appendNumber(b []byte, key string, n int64) []byte {
	if n == 0 {
		return b
	}
	b = append(append(append(b, `,"`...), key...), `":`...)
	return strconv.AppendInt(b, n, 10)
}

// appendString quotes s as encoding/json does.
func appendString(b []byte, s string) []byte {
	if !plain(s) {
		text, _ := json.Marshal(s) // a string cannot fail
		return append(b, text...)
	}
	return append(append(append(b, '"'), s...), '"')
}

// plain says that a string is its own text: no quotes, no controls, nothing that
// encoding/json writes as an escape, all of it ASCII.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= utf8.RuneSelf, c == '"', c == '\\', c == '<', c == '>', c == '&', c == 0x7f:
			return false
		}
	}
	return true
}
