package schema

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// ToFalco renders the event as a Falco event that a stock FalcoSidekick accepts:
// rule is the policy's name, or for logs the operation; output is one sentence;
// priority is Priority; source is "kubearmor". All output_fields are strings,
// because FalcoSidekick leaves others out of chat messages, at most 19, because
// with its own six it would go beyond Discord's 25, and at most 1000 bytes long,
// because Discord ends a field at 1024. A Falco event is returned as it is.
func (e *Event) ToFalco() FalcoEvent {
	if e.Falco != nil {
		return *e.Falco
	}
	r := e.Record()
	if r == nil {
		return FalcoEvent{}
	}
	f := FalcoEvent{
		UUID:         e.ID,
		Output:       e.sentence(r),
		Priority:     e.Priority(),
		Rule:         cmp.Or(r.Operation, r.Type, "KubeArmor"),
		Time:         e.Time(),
		OutputFields: e.outputFields(r),
		Source:       "kubearmor",
		Hostname:     r.HostName,
	}
	if e.Alert != nil {
		f.Rule = cmp.Or(e.Alert.PolicyName, f.Rule)
		f.Tags = e.Alert.ATags
	}
	if f.Time.IsZero() {
		f.Time = time.Unix(0, 0).UTC() // FalcoSidekick refuses year 1
	}
	return f
}

// sentence says what happened: "Block: /bin/cat tried File /etc/shadow in pod web
// (Permission denied): message".
func (e *Event) sentence(r *Record) string {
	var b strings.Builder
	if e.Alert != nil && e.Alert.Action != "" {
		b.WriteString(e.Alert.Action + ": ")
	}
	b.WriteString(cmp.Or(r.ProcessName, r.Source, "a process") + " " + cmp.Or(r.Operation, r.Type))
	if what := cmp.Or(r.Resource, r.Data); what != "" {
		b.WriteString(" " + clip(what, falcoFieldBytes))
	}
	if where := cmp.Or(r.PodName, r.ContainerName, r.HostName); where != "" {
		b.WriteString(" in " + where)
	}
	if r.Result != "" {
		b.WriteString(" (" + r.Result + ")")
	}
	if e.Alert != nil && e.Alert.Message != "" {
		b.WriteString(": " + clip(e.Alert.Message, falcoFieldBytes))
	}
	return b.String()
}

const falcoFieldBytes = 1000

// outputFields names fields as KubeArmor does, except for those that FalcoSidekick
// and its templates know by Falco's names.
func (e *Event) outputFields(r *Record) map[string]any {
	fields := map[string]any{
		"PPID": strconv.Itoa(int(r.PPID)),
		"PID":  strconv.Itoa(int(r.PID)),
		"UID":  strconv.Itoa(int(r.UID)),
	}
	set := func(key, value string) {
		if value != "" {
			fields[key] = clip(value, falcoFieldBytes)
		}
	}
	set("k8s.ns.name", r.NamespaceName)
	set("k8s.pod.name", r.PodName)
	set("container.id", r.ContainerID)
	set("container.name", r.ContainerName)
	set("container.image", r.ContainerImage)
	set("Operation", r.Operation)
	set("Resource", r.Resource)
	set("Data", r.Data)
	set("Source", r.Source)
	set("ProcessName", r.ProcessName)
	set("ParentProcessName", r.ParentProcessName)
	set("Cwd", r.Cwd)
	set("Result", r.Result)
	if e.Alert != nil {
		set("Action", e.Alert.Action)
		set("Severity", e.Alert.Severity)
		set("Enforcer", e.Alert.Enforcer)
	}
	return fields
}
