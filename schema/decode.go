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

// fields are all fields by both keys. Read only.
var fields = func() map[string]field {
	byKey := make(map[string]field)
	for _, f := range append(recordFields(), alertFields()...) {
		byKey[f.name], byKey[f.camel] = f, f
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
	a, err := s.kubeArmor()
	if err != nil {
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
func (s *scanner) kubeArmor() (*Alert, error) {
	a := new(Alert)
	var falco falcoKeys
	camel := false
	err := s.document(func(key string) error {
		f, ok := fields[key]
		if !ok {
			falco.note(key)
			return s.skip()
		}
		if other := f.other(key); other != key && slices.Contains(s.keys, other) {
			return s.fail("is given twice, as %s before", other)
		}
		camel = camel || key != f.name
		return s.value(f, a)
	})
	if err != nil {
		return nil, err
	}
	if !s.limited {
		return a, nil // our own store: what was taken in once is complete enough
	}
	if falco.both() || a.Type == "" && a.Operation == "" && falco.either() != "" {
		return nil, &FieldError{Field: falco.either(), Reason: "belongs to a Falco event: this is none of KubeArmor's"}
	}
	return a, a.complete(camel)
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
func (s *scanner) value(f field, a *Alert) error {
	switch p := f.in(a).(type) {
	case *string:
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

func (s *scanner) strings(into *[]string) error {
	if s.null() {
		return nil
	}
	*into = []string{}
	return s.list(func() error {
		var v string
		err := s.str(&v)
		*into = append(*into, v)
		return err
	})
}

func (s *scanner) stringMap(into *map[string]string) error {
	if s.null() {
		return nil
	}
	m := make(map[string]string)
	err := s.object(func(key string) error {
		var v string
		err := s.str(&v)
		m[key] = v
		return err
	})
	if len(m) > 0 {
		*into = m
	}
	return err
}

func (s *scanner) owner(into **Owner) error {
	if s.null() {
		return nil
	}
	o := new(Owner)
	*into = o
	return s.object(func(key string) error {
		switch key {
		case "Ref", "ref":
			return s.str(&o.Ref)
		case "Name", "name":
			return s.str(&o.Name)
		case "Namespace", "namespace":
			return s.str(&o.Namespace)
		}
		return s.skip()
	})
}

func (s *scanner) execEvent(into **ExecEvent) error {
	if s.null() {
		return nil
	}
	e := new(ExecEvent)
	*into = e
	return s.object(func(key string) error {
		switch key {
		case "ExecID", "execID":
			return s.str(&e.ExecID)
		case "ExecutableName", "executableName":
			return s.str(&e.ExecutableName)
		}
		return s.skip()
	})
}
