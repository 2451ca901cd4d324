package slack

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/markup"
	"github.com/sidearmor/sidearmor/schema"
)

// The message of a Falco event, in FalcoSidekick's order of keys.
type falcoMessage struct {
	Text        string            `json:"text,omitempty"`
	Username    string            `json:"username,omitempty"`
	IconURL     string            `json:"icon_url,omitempty"`
	Channel     string            `json:"channel,omitempty"`
	Attachments []falcoAttachment `json:"attachments"`
}

type falcoAttachment struct {
	Fallback string       `json:"fallback"`
	Color    string       `json:"color"`
	Text     string       `json:"text,omitempty"`
	Fields   []falcoField `json:"fields"` // null in text format, as FalcoSidekick writes it
	Footer   string       `json:"footer,omitempty"`
}

type falcoField struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

// FalcoSidekick has no bounds of its own and relies on Falco's. These keep a
// message below the 40,000 characters at which Slack cuts.
const (
	maxFalcoText   = 8000
	maxFalcoTitle  = 150
	maxFalcoValue  = 2000
	maxFalcoFields = 20000 // titles and values of one message
	shortField     = 36    // FalcoSidekick: fields below are shown two in a row
)

// falcoMessage lays out a Falco event as FalcoSidekick does, but for three
// things: control characters of Slack's markup are escaped, text is bounded,
// and what does not print is made visible. Like there, output fields that are
// not strings are left out.
func (s *style) falcoMessage(f *schema.FalcoEvent) falcoMessage {
	text := lines(f.Output, maxFalcoText)
	if text == "" {
		text = lines(f.Rule, maxFalcoText) // Slack refuses a message without any text
	}
	a := falcoAttachment{Fallback: text, Color: falcoColor(f.Priority)}
	if s.format != formatFields {
		a.Text = text
	}
	if s.format != formatText {
		a.Fields = falcoFields(f)
		a.Footer = clip.Lines(s.footer, maxContext, nil)
	}
	return falcoMessage{
		Text:        s.execute(f),
		Username:    s.username,
		IconURL:     s.icon,
		Channel:     s.channel,
		Attachments: []falcoAttachment{a},
	}
}

// falcoFields is in FalcoSidekick's order: rule, priority, source, hostname,
// tags, the output fields by name, time.
func falcoFields(f *schema.FalcoEvent) []falcoField {
	fields := []falcoField{
		short("rule", f.Rule),
		short("priority", f.Priority.String()),
		short("source", f.Source),
	}
	if f.Hostname != "" {
		fields = append(fields, short("hostname", f.Hostname))
	}
	if len(f.Tags) > 0 {
		fields = append(fields, short("tags", strings.Join(slices.Sorted(slices.Values(f.Tags)), ", ")))
	}
	fields = append(fields, falcoOutputFields(f.OutputFields)...)
	return append(fields, falcoField{Title: "time", Value: f.Time.String()})
}

func falcoOutputFields(all map[string]any) []falcoField {
	var fields []falcoField
	room, left := maxFalcoFields, 0
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value, ok := all[key].(string)
		if !ok {
			continue
		}
		if room <= 0 {
			left++
			continue
		}
		field := falcoField{
			Title: line(key, maxFalcoTitle),
			Value: lines(value, maxFalcoValue),
			Short: utf8.RuneCountInString(value) < shortField,
		}
		if room -= clip.Units(field.Title) + clip.Units(field.Value); room < 0 {
			left++
			continue
		}
		fields = append(fields, field)
	}
	if left > 0 {
		fields = append(fields, short(clip.Ellipsis, fmt.Sprintf("%d more fields", left)))
	}
	return fields
}

func short(title, value string) falcoField {
	return falcoField{Title: title, Value: lines(value, maxFalcoValue), Short: true}
}

// falcoColor is FalcoSidekick's colour for a priority.
func falcoColor(p schema.Priority) string {
	switch p {
	case schema.PriorityEmergency, schema.PriorityError:
		return "#e20b0b"
	case schema.PriorityAlert, schema.PriorityCritical:
		return "#ff5400"
	case schema.PriorityWarning:
		return "#ffc700"
	case schema.PriorityNotice:
		return "#5bffb5"
	case schema.PriorityInformational:
		return "#68c2ff"
	case schema.PriorityDebug:
		return "#ccfff2"
	}
	return ""
}

// parseTemplate checks more than the syntax: a template that names a field that
// there is not fails here instead of at every event. Other failures of the try
// are forgiven, since they may lie in what the sample has not.
func parseTemplate(text string) (*markup.Template, error) {
	t, err := markup.Parse("messageformat", text, "default")
	if err != nil {
		return nil, err
	}
	sample := &schema.FalcoEvent{
		Output: "sample", Rule: "sample", Source: "sample", Hostname: "sample",
		Priority: schema.PriorityDebug, Time: time.Unix(0, 0).UTC(),
		Tags: []string{"sample"}, OutputFields: map[string]any{"sample": "sample"},
	}
	if err := t.Execute(io.Discard, sample, strings.Clone); err != nil && strings.Contains(err.Error(), "can't evaluate field") {
		return nil, fmt.Errorf("try template: %w", err)
	}
	return t, nil
}

// execute gives the message above the attachment. What comes from the event is
// escaped, unless the template asks for it raw; what the template itself says is
// not, so that it can mention and link. Where an event makes the template fail,
// the message says so.
func (s *style) execute(f *schema.FalcoEvent) string {
	text, err := s.falcoWorded(f)
	if err != nil {
		return line("messageformat: "+err.Error(), maxFalcoValue)
	}
	return text
}

func (s *style) falcoWorded(f *schema.FalcoEvent) (string, error) {
	if s.template == nil {
		return "", nil
	}
	var b bytes.Buffer
	if err := s.template.Execute(&b, f, func(text string) string { return lines(text, maxFalcoText) }); err != nil {
		return "", err
	}
	return clip.Lines(b.String(), maxFalcoText, nil), nil
}
