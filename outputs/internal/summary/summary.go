// Package summary says in words what a KubeArmor event is about: what was done
// by which program, to what, where, and what the policy made of it. It knows
// nothing of any service's markup or limits: its strings are the event's own,
// to be escaped and cut by whoever shows them.
package summary

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/schema"
)

// Outcome is what became of the operation.
type Outcome int

// The outcomes.
const (
	Seen       Outcome = iota // no policy matched: a log
	Audited                   // a policy matched and let it pass
	WouldBlock                // a blocking rule matched in a container that is only audited
	Blocked                   // the operation was denied
	System                    // not about an operation: KubeArmor or SideArmor speaks of itself
)

// String names the outcome as a reader sees it.
func (o Outcome) String() string {
	switch o {
	case Audited:
		return "Audited"
	case WouldBlock:
		return "Audited, would be blocked"
	case Blocked:
		return "Blocked"
	case System:
		return "Notice"
	}
	return "Seen"
}

// Icon is a symbol for the outcome.
func (o Outcome) Icon() string {
	switch o {
	case Audited:
		return "⚠️"
	case WouldBlock:
		return "🟠"
	case Blocked:
		return "⛔"
	case System:
		return "📣"
	}
	return "🔹"
}

// Fact is one named value. Detail adds to it and may be empty.
type Fact struct {
	Name   string
	Value  string
	Detail string
	Code   bool // the value is a name or a text out of the workload or the configuration, not a word of ours
}

// Summary is an event in words.
type Summary struct {
	Outcome  Outcome
	Headline string // a sentence without its full stop: "bash tried to run /usr/bin/curl"
	Message  string // what the policy says of it, or the text of a notice
	Facts    []Fact // at most 10, the important ones, in order; none is empty
	More     []Fact // what else is known, in order; none is empty
	When     string // UTC to the millisecond
}

// Of summarises an alert or a log. For a Falco event, which brings its own
// words, it gives those: Headline is the output.
func Of(e *schema.Event) Summary {
	switch {
	case e.Alert != nil:
		return ofAlert(e)
	case e.Log != nil:
		s := Summary{Outcome: Seen, Headline: headline(&e.Log.Record, false), When: when(e)}
		s.Facts = facts(&e.Log.Record)
		s.More = slices.Concat(extra(&e.Log.Record), more(&e.Log.Record))
		return s
	case e.Falco != nil:
		return Summary{Outcome: System, Headline: e.Falco.Output, When: when(e)}
	}
	return Summary{Outcome: System, Headline: "empty event", When: when(e)}
}

// Record gives what alerts and logs have in common; an empty one for a Falco
// event. It is the event's own: it must not be changed.
func Record(e *schema.Event) *schema.Record {
	return cmp.Or(e.Record(), &schema.Record{})
}

// Scalar is an output field of a Falco event as text; "" for lists and objects, which
// FalcoSidekick's chat outputs leave out too.
func Scalar(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number, bool, float64, int, int64:
		return fmt.Sprint(v)
	}
	return ""
}

func ofAlert(e *schema.Event) Summary {
	a := e.Alert
	s := Summary{Outcome: outcome(a), Message: a.Message, When: when(e)}
	if s.Outcome == System {
		s.Headline = notice(a)
		s.Facts = nonEmpty(where(&a.Record))
		s.More = slices.Concat(extra(&a.Record), more(&a.Record))
		return s
	}
	s.Headline = headline(&a.Record, s.Outcome == Blocked)
	s.Facts = append(facts(&a.Record), nonEmpty([]Fact{
		{Name: "Policy", Value: a.PolicyName, Code: true},
		{Name: "Severity", Value: severity(a.Severity)},
	})...)
	s.More = slices.Concat(extra(&a.Record), nonEmpty([]Fact{{Name: "Tags", Value: tags(a), Code: true}}), more(&a.Record))
	s.More = append(s.More, nonEmpty([]Fact{{Name: "Enforcer", Value: a.Enforcer, Code: true}})...)
	return s
}

func outcome(a *schema.Alert) Outcome {
	switch {
	case a.Type == schema.TypeSystemEvent, a.Operation == schema.OperationAlertThreshold:
		return System
	case a.Action == schema.ActionBlock:
		return Blocked
	case a.Action == schema.ActionAuditBlock:
		return WouldBlock
	}
	return Audited
}

func notice(a *schema.Alert) string {
	if a.Operation == schema.OperationAlertThreshold && a.MaxAlertsPerSec > 0 {
		return fmt.Sprintf("more than %d alerts a second: alerts are dropped for %d seconds",
			a.MaxAlertsPerSec, a.DroppingAlertsInterval)
	}
	if a.Message != "" {
		return a.Message
	}
	return "system event"
}

// facts are who, what and where, and at most 8.
func facts(r *schema.Record) []Fact {
	list := []Fact{
		{Name: "Program", Value: program(r), Detail: fmt.Sprintf("pid %d, %s", r.PID, user(r)), Code: true},
		{Name: "Parent", Value: r.ParentProcessName, Detail: fmt.Sprintf("pid %d", r.PPID), Code: true},
		target(r),
		{Name: "Result", Value: r.Result},
	}
	return nonEmpty(append(list, where(r)...))
}

func where(r *schema.Record) []Fact {
	return []Fact{
		{Name: "Container", Value: firstOf(r.ContainerName, r.ContainerID), Detail: shortID(r), Code: true},
		{Name: podTitle(r), Value: r.PodName, Detail: owner(r.Owner), Code: true},
		{Name: "Namespace", Value: r.NamespaceName, Code: true},
		{Name: "Cluster", Value: r.ClusterName, Code: true},
	}
}

func more(r *schema.Record) []Fact {
	return nonEmpty([]Fact{
		{Name: "Host", Value: r.HostName, Code: true},
		{Name: "Image", Value: r.ContainerImage, Code: true},
		{Name: "Directory", Value: r.Cwd, Code: true},
		{Name: "Terminal", Value: r.TTY, Code: true},
		{Name: "Call", Value: r.Data, Code: true},
	})
}

// extra is what somebody added to the event: the custom fields of the sidekick, which
// are all of EventData that Data and Resource do not hold already.
func extra(r *schema.Record) []Fact {
	if len(r.EventData) == 0 {
		return nil
	}
	known := schema.EventData(r.Operation, r.Resource, r.Data)
	var list []string
	for _, key := range slices.Sorted(maps.Keys(r.EventData)) {
		if value := r.EventData[key]; known[key] != value {
			list = append(list, key+"="+value)
		}
	}
	return nonEmpty([]Fact{{Name: "Fields", Value: strings.Join(list, ", "), Code: true}})
}

// program is who did it. KubeArmor gives a Process event the new binary as its
// ProcessName; who asked for it is the Source.
func program(r *schema.Record) string {
	if r.Operation == schema.OperationProcess {
		return firstOf(r.Source, r.ParentProcessName, r.ProcessName)
	}
	return firstOf(r.Source, r.ProcessName)
}

// actor is program without its arguments.
func actor(r *schema.Record) string {
	if r.Operation == schema.OperationProcess {
		return firstOf(r.Source, r.ParentProcessName)
	}
	if r.ProcessName != "" {
		return r.ProcessName
	}
	exe, _, _ := strings.Cut(r.Source, " ")
	return exe
}

func user(r *schema.Record) string {
	if r.UserName != "" {
		return fmt.Sprintf("user %s (%d)", r.UserName, r.UID)
	}
	return fmt.Sprintf("uid %d", r.UID)
}

func owner(o *schema.Owner) string {
	if o == nil || o.Name == "" {
		return ""
	}
	return strings.TrimSpace(o.Ref + " " + o.Name)
}

// podTitle names what the container runs in by the word of its platform: the
// tracer gives a task of ECS its service or its family as owner, and no pod of
// Kubernetes has such an owner.
func podTitle(r *schema.Record) string {
	if r.Owner != nil && (r.Owner.Ref == "Service" || r.Owner.Ref == "Task") {
		return "Task"
	}
	return "Pod"
}

// shortID is the usual 12 characters of a container's id.
func shortID(r *schema.Record) string {
	if r.ContainerName == "" || len(r.ContainerID) < 12 {
		return ""
	}
	return r.ContainerID[:12]
}

func severity(s string) string {
	if s == "" {
		return ""
	}
	return s + " of 10"
}

func tags(a *schema.Alert) string {
	if len(a.ATags) > 0 {
		return strings.Join(a.ATags, ", ")
	}
	return a.Tags
}

func when(e *schema.Event) string {
	t := e.Time()
	if t.IsZero() {
		t = e.Received
	}
	return clock(t)
}

func nonEmpty(list []Fact) []Fact {
	kept := list[:0]
	for _, f := range list {
		if f.Value != "" {
			kept = append(kept, f)
		}
	}
	return kept
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// base is the last element of a path, and the whole of what is none.
func base(p string) string {
	if p == "" {
		return "something"
	}
	return path.Base(p)
}
