// Package wording words KubeArmor events by a Go template of the user's. It knows
// the fields that a template can use; it does not know any service's markup.
package wording

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/template"
	"time"

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
type Template struct{ template *template.Template }

// Parse checks more than the syntax: a template that names a field that there is
// not fails here instead of at every event. Other failures of the tries are
// forgiven, since they may lie in what the samples do not have.
func Parse(text string) (*Template, error) {
	t, err := template.New("template").Option("missingkey=zero").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	for _, sample := range samples() {
		err := t.Execute(io.Discard, fields(&sample, strings.Clone))
		if err != nil && strings.Contains(err.Error(), "can't evaluate field") {
			return nil, fmt.Errorf("try: %w", err)
		}
	}
	return &Template{template: t}, nil
}

// Execute words an alert or a log. escape makes the event's own texts fit for the
// service; what the template says by itself stays as it is, so that it can mention
// and link.
func (t *Template) Execute(e *schema.Event, escape func(string) string) (string, error) {
	var b strings.Builder
	if err := t.template.Execute(&b, fields(e, escape)); err != nil {
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

func fields(e *schema.Event, escape func(string) string) *Fields {
	s := summary.Of(e)
	f := &Fields{
		Outcome: s.Outcome.String(), Headline: escape(s.Headline), Kind: string(e.Kind), Priority: e.Priority().String(), Time: e.Time(), Blocked: e.Blocked(),
	}
	switch {
	case e.Alert != nil:
		f.ofAlert(e.Alert, escape)
		f.ofRecord(&e.Alert.Record, escape)
	case e.Log != nil:
		f.ofRecord(&e.Log.Record, escape)
	}
	return f
}

func (f *Fields) ofAlert(a *schema.Alert, escape func(string) string) {
	f.Action, f.Policy, f.Message, f.Enforcer = escape(a.Action), escape(a.PolicyName), escape(a.Message), escape(a.Enforcer)
	if n, err := strconv.Atoi(a.Severity); err == nil {
		f.Severity = n
	}
	tags := a.ATags
	if len(tags) == 0 && a.Tags != "" {
		tags = strings.Split(a.Tags, ",")
	}
	for _, tag := range tags {
		f.Tags = append(f.Tags, escape(strings.TrimSpace(tag)))
	}
}

func (f *Fields) ofRecord(r *schema.Record, escape func(string) string) {
	f.Type, f.Operation, f.Source = escape(r.Type), escape(r.Operation), escape(r.Source)
	f.Resource, f.Result = escape(r.Resource), escape(r.Result)
	f.Process, f.Parent, f.User = escape(r.ProcessName), escape(r.ParentProcessName), escape(r.UserName)
	f.Cwd, f.TTY, f.UID, f.PID = escape(r.Cwd), escape(r.TTY), int(r.UID), int(r.PID)
	f.Cluster, f.Host, f.Node = escape(r.ClusterName), escape(r.HostName), escape(r.NodeID)
	f.Namespace, f.Pod = escape(r.NamespaceName), escape(r.PodName)
	if r.Owner != nil {
		f.Owner = escape(r.Owner.Name)
	}
	f.Container, f.ContainerID, f.Image = escape(r.ContainerName), escape(r.ContainerID), escape(r.ContainerImage)
	f.Data, f.Labels = map[string]string{}, map[string]string{}
	for key, value := range r.EventData {
		f.Data[escape(key)] = escape(value)
	}
	for pair := range strings.SplitSeq(r.Labels, ",") {
		if key, value, _ := strings.Cut(strings.TrimSpace(pair), "="); key != "" {
			f.Labels[escape(key)] = escape(value)
		}
	}
}
