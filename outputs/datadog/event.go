package datadog

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Limits of the API (https://docs.datadoghq.com/api/latest/events/post-an-event).
const (
	maxTitle = 100
	maxText  = 4000
	maxKey   = 100
	maxTag   = 200
	maxTags  = 60
	maxAge   = 17 * time.Hour // it takes no older events than 18 hours
)

type event struct {
	Title          string   `json:"title"`
	Text           string   `json:"text"`
	AlertType      string   `json:"alert_type"`
	Source         string   `json:"source_type_name"`
	AggregationKey string   `json:"aggregation_key,omitempty"`
	Host           string   `json:"host,omitempty"`
	Tags           []string `json:"tags,omitempty"`
	DateHappened   int64    `json:"date_happened,omitempty"` // seconds
}

// message has what FalcoSidekick sends for a Falco event, and for a KubeArmor event
// the same made of its facts.
func message(e *schema.Event, now time.Time) event {
	m := event{AlertType: alertType(e.Priority()), AggregationKey: clip.Line(summary.Incident(e), maxKey, nil)}
	if t := e.Time(); t.After(now.Add(-maxAge)) {
		m.DateHappened = t.Unix()
	}
	tags := map[string]string{"priority": e.Priority().String()}
	if f := e.Falco; f != nil {
		m.Source, m.Host = "falco", clip.Line(f.Hostname, maxTag, nil)
		m.Title = plain(cmp.Or(f.Rule, "Falco event"), maxTitle)
		m.Text = plain(cmp.Or(f.Output, f.Rule, "Falco event"), maxText)
		for key, value := range f.OutputFields {
			tags[key] = summary.Scalar(value)
		}
		tags["source"] = f.Source
		m.Tags = list(tags, f.Tags)
		return m
	}
	s, r := summary.Of(e), summary.Record(e)
	m.Source, m.Host = "kubearmor", clip.Line(r.HostName, maxTag, nil)
	m.Title = plain(s.Outcome.String()+": "+s.Headline, maxTitle)
	lines := []string{plain(s.Outcome.String()+": "+s.Headline, 500)}
	if s.Message != "" && s.Message != s.Headline {
		lines = append(lines, plain(s.Message, 500))
	}
	for _, f := range slices.Concat(s.Facts, s.More) {
		value := plain(f.Value, 150)
		if f.Detail != "" {
			value += " (" + plain(f.Detail, 60) + ")"
		}
		lines = append(lines, f.Name+": "+value)
		if f.Name != "Call" && f.Name != "Command" && f.Name != "Program" {
			tags[strings.ToLower(f.Name)] = f.Value
		}
	}
	m.Text = clip.Lines(strings.Join(append(lines, s.When), "\n"), maxText, nil)
	m.Tags = list(tags, nil)
	return m
}

// plain keeps an event from notifying people, which "@" does in a text, and from being
// Markdown, which a text is that begins with three "%".
func plain(s string, limit int) string {
	return clip.Lines(s, limit, func(r rune) string {
		switch r {
		case '@':
			return "＠"
		case '%':
			return "％"
		}
		return string(r)
	})
}

// list makes tags of fields and adds others, each once.
func list(fields map[string]string, more []string) []string {
	var tags []string
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if fields[key] != "" && key != "" {
			tags = append(tags, clip.Line(key+":"+fields[key], maxTag, nil))
		}
	}
	for _, tag := range slices.Sorted(slices.Values(more)) {
		tags = append(tags, clip.Line(tag, maxTag, nil))
	}
	return tags[:min(len(tags), maxTags)]
}

func alertType(p schema.Priority) string {
	switch {
	case p >= schema.PriorityError:
		return "error"
	case p == schema.PriorityWarning:
		return "warning"
	}
	return "info"
}
