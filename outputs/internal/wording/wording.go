// Package wording words KubeArmor events by a Go template of the user's. It knows
// the fields that a template can use; it does not know any service's markup.
package wording

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs/internal/markup"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Fields are what a template can use: of an alert or a log, under the names of
// filters. What an event does not have is empty.
type Fields struct {
	Outcome  string // Blocked; Audited; Audited, would be blocked; Seen; Notice
	Headline string // cat tried to read /etc/shadow
	Kind     string // alert or log
	Priority string // Debug to Emergency
	Time     time.Time

	Action, Policy, Message, Enforcer          string
	Severity                                   int // 1 to 10; 0 for none
	Tags                                       []string
	Blocked                                    bool
	Type, Operation, Source, Resource, Result  string
	Process, Parent, User, Cwd, TTY            string
	UID, PID                                   int
	Data                                       map[string]string // of the call: Syscall, Flags
	Cluster, Host, Node, Namespace, Owner, Pod string
	Container, ContainerID, Image              string
	Labels                                     map[string]string
}

// Template words events.
type Template struct{ template *markup.Template }

// Parse checks more than the syntax: a template that names a field that there is
// not fails here instead of at every event. Other failures of the tries are
// forgiven, since they may lie in what the samples do not have.
func Parse(text string) (*Template, error) {
	t, err := markup.Parse("template", text, "zero")
	if err != nil {
		return nil, err
	}
	for _, sample := range samples() {
		err := t.Execute(io.Discard, fields(&sample), strings.Clone)
		if err != nil && strings.Contains(err.Error(), "can't evaluate field") {
			return nil, fmt.Errorf("try: %w", err)
		}
	}
	return &Template{template: t}, nil
}

// Execute words an alert or a log. escape makes the event's own texts fit for the
// service; what the template says by itself, and what it asks for raw, stays as it
// is, so that it can mention and link.
func (t *Template) Execute(e *schema.Event, escape func(string) string) (string, error) {
	var b strings.Builder
	if err := t.template.Execute(&b, fields(e), escape); err != nil {
		return "", fmt.Errorf("word event: %w", err)
	}
	return strings.TrimSpace(b.String()), nil
}

// samples are an event of each outcome, since a template may go different ways.
func samples() []schema.Event {
	var all []schema.Event
	for _, action := range []string{schema.ActionBlock, schema.ActionAudit, schema.ActionAuditBlock} {
		a := schema.Alert{Action: action, PolicyName: "sample", Severity: "5", ATags: []string{"sample"}, Message: "sample", Enforcer: "SideArmor"}
		a.Record = schema.Record{
			Origin: schema.Origin{PodName: "sample", NamespaceName: "sample", ContainerName: "sample", Labels: "sample=sample"},
			Type:   schema.TypeMatchedPolicy, Operation: schema.OperationFile, Resource: "/sample", ProcessName: "/sample",
			EventData: map[string]string{"Syscall": "SYS_OPENAT"},
		}
		all = append(all, schema.Event{Kind: schema.KindAlert, Alert: &a})
	}
	return append(all,
		schema.Event{Kind: schema.KindAlert, Alert: &schema.Alert{Record: schema.Record{Type: schema.TypeSystemEvent}}},
		schema.Event{Kind: schema.KindLog, Log: &schema.Log{Record: schema.Record{Type: schema.TypeContainerLog, Operation: schema.OperationProcess}}},
	)
}

func fields(e *schema.Event) *Fields {
	s := summary.Of(e)
	f := &Fields{
		Outcome: s.Outcome.String(), Headline: s.Headline, Kind: string(e.Kind), Priority: e.Priority().String(), Time: e.Time(), Blocked: e.Blocked(),
	}
	switch {
	case e.Alert != nil:
		f.ofAlert(e.Alert)
		f.ofRecord(&e.Alert.Record)
	case e.Log != nil:
		f.ofRecord(&e.Log.Record)
	}
	return f
}

func (f *Fields) ofAlert(a *schema.Alert) {
	f.Action, f.Policy, f.Message, f.Enforcer = a.Action, a.PolicyName, a.Message, a.Enforcer
	if n, err := strconv.Atoi(a.Severity); err == nil {
		f.Severity = n
	}
	tags := a.ATags
	if len(tags) == 0 && a.Tags != "" {
		tags = strings.Split(a.Tags, ",")
	}
	for _, tag := range tags {
		f.Tags = append(f.Tags, strings.TrimSpace(tag))
	}
}

func (f *Fields) ofRecord(r *schema.Record) {
	f.Type, f.Operation, f.Source = r.Type, r.Operation, r.Source
	f.Resource, f.Result = r.Resource, r.Result
	f.Process, f.Parent, f.User = r.ProcessName, r.ParentProcessName, r.UserName
	f.Cwd, f.TTY, f.UID, f.PID = r.Cwd, r.TTY, int(r.UID), int(r.PID)
	f.Cluster, f.Host, f.Node = r.ClusterName, r.HostName, r.NodeID
	f.Namespace, f.Pod = r.NamespaceName, r.PodName
	if r.Owner != nil {
		f.Owner = r.Owner.Name
	}
	f.Container, f.ContainerID, f.Image = r.ContainerName, r.ContainerID, r.ContainerImage
	f.Data, f.Labels = map[string]string{}, map[string]string{}
	for key, value := range r.EventData {
		f.Data[key] = value
	}
	for pair := range strings.SplitSeq(r.Labels, ",") {
		if key, value, _ := strings.Cut(strings.TrimSpace(pair), "="); key != "" {
			f.Labels[key] = value
		}
	}
}
