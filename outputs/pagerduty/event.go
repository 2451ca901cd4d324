package pagerduty

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// PagerDuty's limits (https://developer.pagerduty.com/docs/events-api-v2-overview
// and /docs/send-alert-event): 1024 characters of summary, 255 of dedup_key, 512
// KB of event. The details are bounded well below, at what somebody reads who has
// been woken up.
const (
	maxSummary = 1024
	maxName    = 200 // source, component, group, class
	maxKey     = 100
	maxValue   = 1000
	maxDetails = 100
	maxRoom    = 64 << 10 // keys and values of the details
)

// event is the body of a call, in the PagerDuty Common Event Format.
type event struct {
	RoutingKey string  `json:"routing_key"`
	Action     string  `json:"event_action"`
	DedupKey   string  `json:"dedup_key,omitempty"`
	Client     string  `json:"client"`
	Payload    payload `json:"payload"`
}

type payload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp string            `json:"timestamp,omitempty"`
	Component string            `json:"component,omitempty"`
	Group     string            `json:"group,omitempty"`
	Class     string            `json:"class,omitempty"`
	Details   map[string]string `json:"custom_details"`
}

func trigger(e *schema.Event) event {
	t := event{Action: "trigger", Client: "SideArmor"}
	t.DedupKey = clip.Line(summary.Incident(e), 255, nil)
	if e.Falco != nil {
		t.Payload = falco(e.Falco)
	} else {
		t.Payload = kubearmor(e)
	}
	t.Payload.Severity = severity(e.Priority())
	if at := e.Time(); !at.IsZero() {
		t.Payload.Timestamp = at.Format("2006-01-02T15:04:05.000Z07:00")
	}
	return t
}

// falco has what FalcoSidekick sends. It adds rule, priority, source and tags to
// the details, which FalcoSidekick collects and does not send. The severity is
// that of the event, where FalcoSidekick's is always critical, and the key makes
// a delivery that is repeated no second alert.
func falco(f *schema.FalcoEvent) payload {
	fields := make(map[string]string, len(f.OutputFields)+5)
	for key, value := range f.OutputFields {
		fields[key] = text(value)
	}
	fields["rule"], fields["priority"] = f.Rule, f.Priority.String()
	fields["source"], fields["hostname"] = f.Source, f.Hostname
	fields["tags"] = strings.Join(slices.Sorted(slices.Values(f.Tags)), ", ")
	return payload{
		Summary: clip.Line(cmp.Or(f.Output, f.Rule, "Falco event"), maxSummary, nil),
		Source:  "falco",
		Details: details(fields),
	}
}

// kubearmor says in the summary what happened and where, so that a text message
// is enough to decide on.
func kubearmor(e *schema.Event) payload {
	sum := summary.Of(e)
	r := summary.Record(e)
	fields := map[string]string{"Message": sum.Message, "Time": sum.When}
	for _, f := range slices.Concat(sum.Facts, sum.More) {
		value := f.Value
		if f.Detail != "" {
			value = clip.Line(value, maxValue-200, nil) + " (" + clip.Line(f.Detail, 150, nil) + ")"
		}
		fields[f.Name] = value
	}
	line := clip.Line(sum.Outcome.String()+": "+sum.Headline, maxSummary/2, nil)
	if where := cmp.Or(r.PodName, r.ContainerName, r.HostName); where != "" {
		line += " in " + clip.Line(where, maxName, nil)
	}
	return payload{
		Summary:   line,
		Source:    name(cmp.Or(r.PodName, r.HostName, r.ContainerName, r.ContainerID, "kubearmor")),
		Component: name(r.ContainerName),
		Group:     name(cmp.Or(r.NamespaceName, r.ClusterName)),
		Class:     name(r.Operation),
		Details:   details(fields),
	}
}

// severity is one of PagerDuty's four.
func severity(p schema.Priority) string {
	switch {
	case p >= schema.PriorityCritical:
		return "critical"
	case p == schema.PriorityError:
		return "error"
	case p == schema.PriorityWarning:
		return "warning"
	}
	return "info"
}

// details bounds fields and drops the empty ones. What has no room is counted.
func details(fields map[string]string) map[string]string {
	list := map[string]string{}
	room, left := maxRoom, 0
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		value := clip.Lines(fields[key], maxValue, nil)
		if value == "" {
			continue
		}
		short := clip.Line(cmp.Or(key, "-"), maxKey, nil)
		cost := clip.Units(short) + clip.Units(value)
		if len(list) == maxDetails || cost > room {
			left++
			continue
		}
		room -= cost
		list[short] = value
	}
	if left > 0 {
		list[clip.Ellipsis] = fmt.Sprintf("%d more fields", left)
	}
	return list
}

// text is an output field as text.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number, bool, float64, int, int64, time.Time:
		return fmt.Sprint(v)
	}
	body, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(body)
}

func name(s string) string { return clip.Line(s, maxName, nil) }
