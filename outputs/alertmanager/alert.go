package alertmanager

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Alertmanager has no limits for labels and annotations, and keeps all of them in
// memory: these are kept short.
const (
	maxLabels     = 64
	maxName       = 100
	maxLabel      = 500
	maxAnnotation = 2000
)

// alert is a postable alert of the API v2.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    string            `json:"startsAt,omitempty"`
	EndsAt      string            `json:"endsAt,omitempty"`
}

// alert makes the alert of an event that is delivered now. Its end is counted
// from the delivery, not from the event as FalcoSidekick does: of an alert that
// has ended already when it arrives, Alertmanager notifies nobody.
func (r *rules) alert(e *schema.Event, now time.Time) alert {
	a := alert{Labels: map[string]string{}, Annotations: map[string]string{}}
	priority := e.Priority()
	if e.Falco != nil {
		priority = r.falco(&a, e.Falco)
	} else {
		kubearmor(&a, e)
	}
	setLabel(&a, "priority", priority.String())
	setLabel(&a, "severity", r.severities[priority])
	for _, p := range r.labels {
		setLabel(&a, p.name, p.value)
	}
	for _, p := range r.annotations {
		setAnnotation(&a, p.name, p.value)
	}
	// Without a start in the future, Alertmanager's own end cannot come before it.
	if start := e.Time(); start.Year() > 1 && start.Before(now) {
		a.StartsAt = start.Format(time.RFC3339Nano)
	}
	if r.expires > 0 {
		a.EndsAt = now.Add(r.expires).UTC().Format(time.RFC3339Nano)
	}
	return a
}

// kubearmor labels an event with what stays the same when it happens again, in
// any restart of the container, so that it is one alert; what differs each time
// is in the annotations, which an alert that comes again brings up to date.
func kubearmor(a *alert, e *schema.Event) {
	f := e.ToFalco()
	sum := summary.Of(e)
	r := summary.Record(e)
	for name, value := range map[string]string{
		"alertname":   cmp.Or(f.Rule, "KubeArmor"),
		"source":      "kubearmor",
		"eventsource": "kubearmor",
		"rule":        f.Rule,
		"outcome":     strings.ToLower(sum.Outcome.String()),
		"operation":   r.Operation,
		"process":     r.ProcessName,
		"cluster":     r.ClusterName,
		"namespace":   r.NamespaceName,
		"container":   cmp.Or(r.ContainerName, r.ContainerID),
	} {
		setLabel(a, name, value)
	}
	if r.Owner != nil {
		setLabel(a, "workload", r.Owner.Name)
	}
	setAnnotation(a, "summary", sum.Outcome.String()+": "+sum.Headline)
	setAnnotation(a, "description", cmp.Or(sum.Message, f.Output))
	for _, fact := range slices.Concat(sum.Facts, sum.More) {
		value := fact.Value
		if fact.Detail != "" {
			value = clip.Line(value, maxAnnotation-200, nil) + " (" + clip.Line(fact.Detail, 150, nil) + ")"
		}
		setAnnotation(a, strings.ToLower(fact.Name), value)
	}
}

// falco labels an event as FalcoSidekick does: every output field that is a
// string or a number, and what is known of the event. It gives the priority,
// which the number of dropped events may raise.
func (r *rules) falco(a *alert, f *schema.FalcoEvent) schema.Priority {
	priority := f.Priority
	for _, key := range slices.Sorted(maps.Keys(f.OutputFields)) {
		value := text(f.OutputFields[key])
		switch {
		case strings.HasPrefix(key, "n_evts"): // differs each time
		case strings.HasPrefix(key, "n_drop"):
			if count, err := strconv.ParseInt(value, 10, 64); err == nil {
				label, least := r.dropped(count)
				setLabel(a, labelName(key), label)
				priority = max(priority, least)
			}
		case len(a.Labels) < maxLabels:
			setLabel(a, labelName(key), value)
		}
	}
	setLabel(a, "source", "falco")
	setLabel(a, "rule", cmp.Or(f.Rule, "Falco event"))
	setLabel(a, "eventsource", f.Source)
	setLabel(a, "hostname", f.Hostname)
	setLabel(a, "tags", strings.Join(slices.Sorted(slices.Values(f.Tags)), ","))
	setAnnotation(a, "info", f.Output)
	setAnnotation(a, "description", f.Output)
	setAnnotation(a, "summary", f.Rule)
	return priority
}

// setLabel leaves out what is empty, as Alertmanager does.
func setLabel(a *alert, name, value string) {
	if value = clip.Line(value, maxLabel, nil); name != "" && value != "" {
		a.Labels[name] = value
	}
}

func setAnnotation(a *alert, name, value string) {
	if value = clip.Lines(value, maxAnnotation, nil); value != "" {
		a.Annotations[name] = value
	}
}

var notInName = regexp.MustCompile(`[^a-zA-Z0-9_]+`)

// labelName makes a valid name of any text, the one that FalcoSidekick makes
// where that one is valid; "" when nothing is left.
func labelName(key string) string {
	// Cut before, so that a huge key costs no more than a short one.
	name := notInName.ReplaceAllString(key[:min(len(key), maxName)], "_")
	for strings.Contains(name, "__") {
		name = strings.ReplaceAll(name, "__", "_")
	}
	name = strings.Trim(name, "_")
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		return "_" + name
	}
	return name
}

// text is an output field as text; "" for what is no label.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number, float64, int, int64:
		return fmt.Sprint(v)
	}
	return ""
}
