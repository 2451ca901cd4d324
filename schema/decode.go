package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// field is one field of KubeArmor's events: its key in both spellings and where
// it goes. An alert has all of them, a log those of its Record.
type field struct {
	name, camel string
	in          func(a *Alert) any // pointer to the field
}

// spelling is a field by one of its two keys.
type spelling struct {
	field
	key    string
	text   string // the key as it is usually written, in quotes and with a colon
	number int    // of the field, from 1
	tells  bool   // the value says what kind of event it is, or is counted
}

// maxFields is more than the highest number of a field: a set of them is a word.
const maxFields = 64

// fields are all fields by both keys. Read only.
var fields = func() map[string]*spelling {
	byKey := make(map[string]*spelling)
	tell := []string{"Type", "Operation", "PolicyName", "Action", "Enforcer"}
	for i, f := range append(recordFields(), alertFields()...) {
		for _, key := range []string{f.name, f.camel} {
			byKey[key] = &spelling{
				field: f, key: key, text: `"` + key + `":`, number: i + 1, tells: slices.Contains(tell, f.name),
			}
		}
	}
	return byKey
}()

func recordFields() []field {
	return []field{
		{"Timestamp", "timestamp", func(a *Alert) any { return &a.Timestamp }},
		{"UpdatedTime", "updatedTime", func(a *Alert) any { return &a.UpdatedTime }},
		{"ClusterName", "clusterName", func(a *Alert) any { return &a.ClusterName }},
		{"HostName", "hostName", func(a *Alert) any { return &a.HostName }},
		{"NodeID", "nodeID", func(a *Alert) any { return &a.NodeID }},
		{"UserName", "username", func(a *Alert) any { return &a.UserName }},
		{"NamespaceName", "namespaceName", func(a *Alert) any { return &a.NamespaceName }},
		{"Owner", "owner", func(a *Alert) any { return &a.Owner }},
		{"PodName", "podName", func(a *Alert) any { return &a.PodName }},
		{"Labels", "labels", func(a *Alert) any { return &a.Labels }},
		{"ContainerID", "containerID", func(a *Alert) any { return &a.ContainerID }},
		{"ContainerName", "containerName", func(a *Alert) any { return &a.ContainerName }},
		{"ContainerImage", "containerImage", func(a *Alert) any { return &a.ContainerImage }},
		{"HostPPID", "hostPPid", func(a *Alert) any { return &a.HostPPID }},
		{"HostPID", "hostPid", func(a *Alert) any { return &a.HostPID }},
		{"PPID", "ppid", func(a *Alert) any { return &a.PPID }},
		{"PID", "pid", func(a *Alert) any { return &a.PID }},
		{"UID", "uid", func(a *Alert) any { return &a.UID }},
		{"ExecEvent", "execEvent", func(a *Alert) any { return &a.ExecEvent }},
		{"ParentProcessName", "parentProcessName", func(a *Alert) any { return &a.ParentProcessName }},
		{"ProcessName", "processName", func(a *Alert) any { return &a.ProcessName }},
		{"Type", "type", func(a *Alert) any { return &a.Type }},
		{"Source", "source", func(a *Alert) any { return &a.Source }},
		{"Operation", "operation", func(a *Alert) any { return &a.Operation }},
		{"Resource", "resource", func(a *Alert) any { return &a.Resource }},
		{"Cwd", "cwd", func(a *Alert) any { return &a.Cwd }},
		{"TTY", "tty", func(a *Alert) any { return &a.TTY }},
		{"OID", "oid", func(a *Alert) any { return &a.OID }},
		{"Data", "data", func(a *Alert) any { return &a.Data }},
		{"EventData", "eventData", func(a *Alert) any { return &a.EventData }},
		{"ProcessHash", "processHash", func(a *Alert) any { return &a.ProcessHash }},
		{"ParentHash", "parentHash", func(a *Alert) any { return &a.ParentHash }},
		{"ResourceHash", "resourceHash", func(a *Alert) any { return &a.ResourceHash }},
		{"HashAlgo", "hashAlgo", func(a *Alert) any { return &a.HashAlgo }},
		{"Result", "result", func(a *Alert) any { return &a.Result }},
	}
}

func alertFields() []field {
	return []field{
		{"PolicyName", "policyName", func(a *Alert) any { return &a.PolicyName }},
		{"Severity", "severity", func(a *Alert) any { return &a.Severity }},
		{"Tags", "tags", func(a *Alert) any { return &a.Tags }},
		{"ATags", "atags", func(a *Alert) any { return &a.ATags }},
		{"Message", "message", func(a *Alert) any { return &a.Message }},
		{"Enforcer", "enforcer", func(a *Alert) any { return &a.Enforcer }},
		{"Action", "action", func(a *Alert) any { return &a.Action }},
		{"KubeArmorVersion", "kubeArmorVersion", func(a *Alert) any { return &a.KubeArmorVersion }},
		{"MaxAlertsPerSec", "MaxAlertsPerSec", func(a *Alert) any { return &a.MaxAlertsPerSec }},
		{"DroppingAlertsInterval", "DroppingAlertsInterval", func(a *Alert) any { return &a.DroppingAlertsInterval }},
	}
}

// Classify says what kind of event body is, by its content alone: a header may
// be wrong. It reads body as strictly as Decode does, but for the types of the
// fields that do not matter to it. The error says why body is no event.
func Classify(body []byte) (Kind, error) {
	s, err := newScanner(body, true)
	if err != nil {
		return "", err
	}
	var a Alert
	var falco falcoKeys
	kubearmor := false
	err = s.document(func(key string) error {
		switch key {
		case "Type", "type", "Operation", "operation":
			kubearmor = true
			return s.value(fields[key], &a)
		case "PolicyName", "policyName", "Action", "action", "Enforcer", "enforcer":
			return s.value(fields[key], &a)
		}
		falco.note(key)
		return s.skip()
	})
	switch {
	case err != nil:
		return "", err
	case falco.both():
		return KindFalco, nil
	case kubearmor:
		return a.kind(), nil
	case falco.either() != "":
		return KindFalco, nil
	}
	return "", &FieldError{Reason: "neither a KubeArmor event, with Type and Operation, nor a Falco event, with rule and output_fields"}
}

// falcoKeys are the two keys, as spelled, that every Falco event has and no
// event of KubeArmor's. FalcoSidekick takes them in any case.
type falcoKeys struct{ rule, outputFields string }

func (f *falcoKeys) note(key string) {
	switch {
	case strings.EqualFold(key, "rule"):
		f.rule = key
	case strings.EqualFold(key, "output_fields"):
		f.outputFields = key
	}
}

func (f *falcoKeys) both() bool     { return f.rule != "" && f.outputFields != "" }
func (f *falcoKeys) either() string { return cmp.Or(f.rule, f.outputFields) }

// kind tells alerts from logs. An event that names a policy or an action is an
// alert whatever its Type says, so that what a log cannot hold is not lost.
func (a *Alert) kind() Kind {
	switch a.Type {
	case TypeMatchedPolicy, TypeMatchedHostPolicy, TypeMatchedNetworkPolicy, TypeSystemEvent:
		return KindAlert
	}
	if a.PolicyName != "" || a.Action != "" {
		return KindAlert
	}
	if a.Type == TypeContainerLog || a.Type == TypeHostLog || a.Enforcer == "" {
		return KindLog
	}
	return KindAlert
}

// Decode reads a KubeArmor alert or log, with the keys of either spelling, even
// mixed, and tells the two apart by their content. It is strict about types,
// sizes and duplicate keys; it ignores unknown fields, takes a null for a field
// that is not given, and asks for Type and Operation. The error is a
// *FieldError. ID and Received of the result are zero.
func Decode(body []byte) (Event, error) {
	s, err := newScanner(body, true)
	if err != nil {
		return Event{}, err
	}
	a := new(Alert)
	if err := s.kubeArmor(a); err != nil {
		return Event{}, err
	}
	return a.event(a.kind()), nil
}

func (a *Alert) event(kind Kind) Event {
	if kind == KindLog {
		return Event{Kind: KindLog, Log: &Log{Record: a.Record}}
	}
	return Event{Kind: KindAlert, Alert: a}
}

// kubeArmor reads any event of KubeArmor's into an Alert, which has the fields
// of a Log and more.
func (s *scanner) kubeArmor(a *Alert) error {
	if err := s.begin(); err != nil {
		return err
	}
	var falco falcoKeys
	camel, err := s.fields(a, &falco)
	if err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	if !s.limited {
		return nil // our own store: what was taken in once is complete enough
	}
	if falco.both() || a.Type == "" && a.Operation == "" && falco.either() != "" {
		return &FieldError{Field: falco.either(), Reason: "belongs to a Falco event: this is none of KubeArmor's"}
	}
	return a.complete(camel)
}

// fields reads the object that is an event, and says whether a key is spelled as
// the daemon spells it. It does what object does, and takes a short way for the
// keys that it knows.
func (s *scanner) fields(a *Alert, falco *falcoKeys) (camel bool, err error) {
	if err := s.open('{', "an object"); err != nil {
		return false, err
	}
	var known keySet
	var seen fieldSet
	for n, before := 0, 0; ; n++ {
		more, err := s.next(n, '}')
		if err != nil || !more {
			return camel, err
		}
		f, err := s.field(before, &seen, &known)
		switch {
		case err != nil:
			return false, err
		case f == nil:
			s.foreign = true
			falco.note(s.path[0].key)
			err = s.skip()
		default:
			before = f.number
			camel = camel || f.key != f.name
			s.camel = camel
			err = s.value(f, a)
		}
		if err != nil {
			return false, err
		}
		s.path = s.path[:0]
	}
}

// field reads a key and its colon; nil is for one that no field has. Events of one
// sender have their keys in one order: what came after the field before in the last
// event is likely to come again.
func (s *scanner) field(before int, seen *fieldSet, known *keySet) (*spelling, error) {
	if s.after != nil {
		if f := s.after[before]; f != nil && strings.HasPrefix(s.text[s.at:], f.text) {
			s.at += len(f.text)
			s.path = append(s.path, step{key: f.key, index: -1})
			return f, s.once(f, seen)
		}
	}
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	f := fields[key]
	if f != nil {
		err = s.once(f, seen)
	} else {
		err = s.noteKey(0, known, key)
	}
	if err != nil {
		return nil, err
	}
	if s.after != nil && f != nil {
		s.after[before] = f
	}
	return f, s.colon()
}

// fieldSet is the fields that an event has had, by spelling and number.
type fieldSet struct{ name, camel uint64 }

// once refuses a field that was there before.
func (s *scanner) once(f *spelling, seen *fieldSet) error {
	own, other := &seen.name, &seen.camel
	if f.key != f.name {
		own, other = other, own
	}
	bit := uint64(1) << f.number
	switch {
	case *own&bit != 0:
		return s.fail("is given twice")
	case *other&bit != 0:
		return s.fail("is given twice, as %s before", f.other(f.key))
	}
	*own |= bit
	return nil
}

// complete reports what a lacks to be an event.
func (a *Alert) complete(camel bool) error {
	if a.Type != "" && a.Operation != "" {
		return nil
	}
	missing := "Type"
	if a.Type != "" {
		missing = "Operation"
	}
	if camel {
		missing = fields[missing].camel
	}
	return &FieldError{Field: missing, Reason: "is missing or empty"}
}

// other gives the spelling of f that key is not.
func (f field) other(key string) string {
	if key == f.name {
		return f.camel
	}
	return f.name
}

// value reads the value of f into a.
func (s *scanner) value(f *spelling, a *Alert) error {
	switch p := f.in(a).(type) {
	case *string:
		if s.checking && !f.tells {
			var v string
			p = &v
		}
		return s.str(p)
	case *int32:
		v, err := s.integer(32)
		*p = int32(v)
		return err
	case *int64:
		v, err := s.integer(64)
		*p = v
		return err
	case *[]string:
		return s.strings(p)
	case *map[string]string:
		return s.stringMap(p)
	case **Owner:
		return s.owner(p)
	case **ExecEvent:
		return s.execEvent(p)
	default:
		return fmt.Errorf("field %s has no decoder for %T", f.name, p)
	}
}
