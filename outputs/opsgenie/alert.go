package opsgenie

import (
	"cmp"
	"html"
	"maps"
	"slices"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Limits of the API (https://docs.opsgenie.com/docs/alert-api#create-alert).
const (
	maxMessage     = 130
	maxAlias       = 512
	maxDescription = 15_000
	maxEntity      = 512
	maxTags        = 20
	maxTag         = 50
	maxDetails     = 8000 // names and values together
	maxDetail      = 1000
)

type alert struct {
	Message     string            `json:"message"`
	Alias       string            `json:"alias,omitempty"`
	Description string            `json:"description,omitempty"`
	Entity      string            `json:"entity,omitempty"`
	Source      string            `json:"source"`
	Priority    string            `json:"priority"`
	Tags        []string          `json:"tags,omitempty"`
	Details     map[string]string `json:"details"`
}

// alertOf has what FalcoSidekick sends for a Falco event, but for the limits, and the
// facts of a KubeArmor event. Opsgenie shows message and description as HTML.
func alertOf(e *schema.Event) alert {
	a := alert{
		Alias: clip.Line(summary.Incident(e), maxAlias, nil), Entity: clip.Line(summary.Place(e), maxEntity, nil),
		Source: "SideArmor", Priority: priority(e.Priority()),
	}
	fields := map[string]string{"priority": e.Priority().String()}
	if f := e.Falco; f != nil {
		a.Message = clip.Line(cmp.Or(f.Output, f.Rule, "Falco event"), maxMessage, escape)
		a.Description = clip.Lines(cmp.Or(f.Rule, "Falco event")+"\n"+f.Output, maxDescription/2, escape)
		for key, value := range f.OutputFields {
			fields[key] = summary.Scalar(value)
		}
		fields["source"], fields["hostname"], fields["rule"] = f.Source, f.Hostname, f.Rule
		a.Tags, a.Details = tags(f.Tags), details(fields)
		return a
	}
	s := summary.Of(e)
	a.Message = clip.Line(s.Outcome.String()+": "+s.Headline, maxMessage, escape)
	a.Description = clip.Lines(s.Outcome.String()+": "+s.Headline+"\n"+s.Message+"\n"+s.When, maxDescription/2, escape)
	for _, f := range slices.Concat(s.Facts, s.More) {
		fields[f.Name] = f.Value
		if f.Detail != "" {
			fields[f.Name] = clip.Line(f.Value, maxDetail-200, nil) + " (" + clip.Line(f.Detail, 150, nil) + ")"
		}
	}
	if e.Alert != nil {
		a.Tags = tags(e.Alert.ATags)
	}
	a.Details = details(fields)
	return a
}

func escape(r rune) string { return html.EscapeString(string(r)) }

func tags(list []string) []string {
	var short []string
	for _, tag := range slices.Sorted(slices.Values(list)) {
		if tag != "" && len(short) < maxTags {
			short = append(short, clip.Line(tag, maxTag, nil))
		}
	}
	return short
}

// details bounds fields. What has no room is left out, the last by name first.
func details(fields map[string]string) map[string]string {
	list, room := map[string]string{}, maxDetails
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		name, value := clip.Line(cmp.Or(key, "-"), 100, nil), clip.Line(fields[key], maxDetail, nil)
		cost := clip.Units(name) + clip.Units(value)
		if value == "" || cost > room {
			continue
		}
		list[name] = value
		room -= cost
	}
	return list
}

// priority is FalcoSidekick's mapping.
func priority(p schema.Priority) string {
	switch {
	case p >= schema.PriorityAlert:
		return "P1"
	case p == schema.PriorityCritical:
		return "P2"
	case p == schema.PriorityError:
		return "P3"
	case p == schema.PriorityWarning:
		return "P4"
	}
	return "P5"
}
