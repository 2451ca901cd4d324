// Package chat words events for chat services that take one text with simple markup,
// and sends them. It knows no service: each brings its markup and its request.
package chat

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Bounds of a text in UTF-16 units. Together they stay below the 4,096 characters that
// services take, before an escape makes several of one.
const (
	maxHeadline = 250
	maxMessage  = 400
	maxValue    = 160
	maxDetail   = 60
	maxMore     = 80
	maxExample  = 120
	maxOutput   = 1200
	maxRoom     = 1600 // of a Falco event's output fields
)

// Markup is how a service writes text. Every text of an event stands in code: there
// alone services look for no links, mentions or markup.
type Markup struct {
	Bold func(ours string) string
	Code func(foreign string, limit int) string
}

// writer is a Markup with a Style.
type writer struct {
	Markup
	style Style
}

// Backticks is the markup of services that know Markdown's code, and one or two stars
// for bold. escape gives what stands for a rune in code.
func Backticks(stars string, escape func(rune) string) Markup {
	return Markup{
		Bold: func(s string) string { return stars + s + stars },
		Code: func(s string, limit int) string {
			return "`" + clip.Line(s, limit, func(r rune) string {
				if r == '`' {
					return "ˋ" // would end the code
				}
				return escape(r)
			}) + "`"
		},
	}
}

// Same is the escape of services that need none in code.
func Same(r rune) string { return string(r) }

// event words one event.
func (m *writer) event(e *schema.Event) string {
	var lines []string
	if words := m.style.worded(e); words != "" {
		lines = append(lines, m.Code(words, maxWording))
	}
	if e.Falco != nil {
		return m.join(lines, m.falco(e.Falco))
	}
	s := summary.Of(e)
	head := m.Bold(s.Outcome.Icon()+" "+s.Outcome.String()) + " " + m.Code(s.Headline, maxHeadline)
	return m.join(lines, m.kubearmor(head, &s))
}

func (m *writer) join(parts ...[]string) string {
	lines := slices.Concat(parts...)
	if m.style.footer != "" {
		lines = append(lines, clip.Line(m.style.footer, maxHeadline, nil))
	}
	return strings.Join(lines, "\n")
}

func (m *writer) kubearmor(head string, s *summary.Summary) []string {
	lines := []string{head}
	if s.Message != "" && s.Message != s.Headline && m.style.format != formatFields {
		lines = append(lines, m.Code(s.Message, maxMessage))
	}
	if m.style.format == formatText {
		return append(lines, s.When)
	}
	for _, f := range s.Facts {
		lines = append(lines, m.fact(f, maxValue))
	}
	var small []string
	for _, f := range s.More {
		small = append(small, f.Name+" "+m.Code(f.Value, maxMore))
	}
	return append(lines, strings.Join(append(small, s.When), " · "))
}

func (m *writer) fact(f summary.Fact, limit int) string {
	line := m.Bold(f.Name+":") + " " + m.Code(f.Value, limit)
	if f.Detail != "" {
		line += " " + m.Code(f.Detail, maxDetail)
	}
	return line
}

// falco has what FalcoSidekick shows, and numbers among the output fields too.
func (m *writer) falco(f *schema.FalcoEvent) []string {
	lines := []string{m.Bold(cmp.Or(f.Priority.String(), "Falco")) + " " + m.Code(cmp.Or(f.Rule, "Falco event"), maxHeadline)}
	if m.style.format != formatFields {
		lines = append(lines, m.Code(cmp.Or(f.Output, "-"), maxOutput))
	}
	when := f.Time.UTC().Format("2006-01-02 15:04:05.000 UTC")
	if m.style.format == formatText {
		return append(lines, when)
	}
	room, left := maxRoom, 0
	for _, key := range slices.Sorted(maps.Keys(f.OutputFields)) {
		value := summary.Scalar(f.OutputFields[key])
		if value == "" {
			continue
		}
		line := m.Code(cmp.Or(key, "-"), maxDetail) + " " + m.Code(value, maxValue)
		if room -= clip.Units(line); room < 0 {
			left++
			continue
		}
		lines = append(lines, line)
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("… %d more fields", left))
	}
	for _, fact := range []summary.Fact{
		{Name: "Source", Value: f.Source},
		{Name: "Hostname", Value: f.Hostname},
		{Name: "Tags", Value: strings.Join(slices.Sorted(slices.Values(f.Tags)), ", ")},
	} {
		if fact.Value != "" {
			lines = append(lines, m.fact(fact, maxDetail))
		}
	}
	return append(lines, when)
}

// digest words many events as one is worded, with what is said of all of them.
func (m *writer) digest(d *outputs.Digest) string {
	if f := d.Examples[0].Falco; f != nil {
		var lines []string
		for _, fact := range append(summary.Times(d), summary.Fact{Name: "Resource", Value: cmp.Or(d.Resource, "-")}) {
			lines = append(lines, m.fact(fact, maxDetail))
		}
		return m.join(lines, m.falco(f))
	}
	s := summary.OfDigest(d)
	head := m.Bold(fmt.Sprintf("%s %s %d times", s.Outcome.Icon(), s.Outcome, d.Count)) + " " + m.Code(s.Headline, maxHeadline)
	lines := m.kubearmor(head, &s.Summary)
	for _, example := range s.Examples {
		lines = append(lines, m.Code(example, maxExample))
	}
	return m.join(lines)
}
