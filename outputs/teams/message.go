package teams

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Teams takes messages of 28 KB by its documentation
// (https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook)
// and of 21 KB by others' measurements. A character of a text costs at most
// three bytes of JSON, so the limits of a card's texts add up to less than 6,000.
const (
	maxTitle      = 200
	maxMessage    = 800
	maxFacts      = 10
	maxValue      = 250
	maxDetail     = 80
	maxMore       = 8
	maxMoreValue  = 100
	maxFalcoText  = 1500
	maxFalcoName  = 80
	maxFalcoValue = 400
	maxFalcoRoom  = 2500 // names and values of the output fields
	maxFalcoFacts = 30
)

// style is how cards look; the zero value is not useful.
type style struct {
	format, image string
}

func (s *style) message(e *schema.Event) message {
	if e.Falco != nil {
		return s.falco(e.Falco)
	}
	return s.kubearmor(e)
}

// kubearmor lays out a KubeArmor event: in the colour of the outcome what
// happened, below what the policy says of it, who did it to what and where, and
// in small print what else is known.
func (s *style) kubearmor(e *schema.Event) message {
	sum := summary.Of(e)
	head := sum.Outcome.Icon() + " " + clip.Line(sum.Outcome.String()+": "+sum.Headline, maxTitle, nil)
	body := []block{s.head(outcomeStyle(sum.Outcome), head)}
	if sum.Message != "" && sum.Message != sum.Headline && s.format != formatFacts {
		body = append(body, paragraph("", text(clip.Line(sum.Message, maxMessage, nil))))
	}
	if s.format != formatText {
		for i, f := range sum.Facts[:min(len(sum.Facts), maxFacts)] {
			body = append(body, fact(i, f))
		}
	}
	small := []string{sum.When}
	for _, f := range sum.More[:min(len(sum.More), maxMore)] {
		small = append(small, f.Name+" "+clip.Line(f.Value, maxMoreValue, nil))
	}
	return newMessage(head, append(body, paragraph("Medium", subtle(strings.Join(small, " · ")))))
}

func (s *style) head(color, line string) block {
	items := []block{paragraph("", title(line))}
	if s.image != "" {
		items = []block{beside(s.image, items)}
	}
	return container(color, items...)
}

func fact(i int, f summary.Fact) block {
	value := text(clip.Line(f.Value, maxValue, nil))
	if f.Code {
		value = mono(value.Text)
	}
	runs := []run{subtle(f.Name + ": "), value}
	if f.Detail != "" {
		runs = append(runs, subtle(" ("+clip.Line(f.Detail, maxDetail, nil)+")"))
	}
	return paragraph(factSpacing(i), runs...)
}

// factSpacing keeps the facts together as one block.
func factSpacing(i int) string {
	if i == 0 {
		return "Medium"
	}
	return "None"
}

// falco has what FalcoSidekick's card has, in the form that Teams takes today:
// time, message, output fields by name, rule and priority as facts, and a colour
// for the priority. It adds source, host and tags, and shows numbers too.
func (s *style) falco(f *schema.FalcoEvent) message {
	output := clip.Lines(cmp.Or(f.Output, f.Rule, "Falco event"), maxFalcoText, nil)
	head := clip.Line(strings.TrimPrefix(f.Priority.String()+": "+cmp.Or(f.Rule, "Falco event"), ": "), maxTitle, nil)
	body := []block{s.head(priorityStyle(f.Priority), head)}
	if s.format != formatFacts {
		body = append(body, paragraph("", text(output)))
	}
	if s.format != formatText {
		for i, l := range falcoFacts(f) {
			body = append(body, paragraph(factSpacing(i), subtle(l.name+": "), text(l.value)))
		}
	}
	body = append(body, paragraph("Medium", subtle(f.Time.String())))
	return newMessage(clip.Line(output, maxTitle, nil), body)
}

type labelled struct{ name, value string }

func falcoFacts(f *schema.FalcoEvent) []labelled {
	var list []labelled
	room, left := maxFalcoRoom, 0
	for _, key := range slices.Sorted(maps.Keys(f.OutputFields)) {
		value := clip.Line(summary.Scalar(f.OutputFields[key]), maxFalcoValue, nil)
		if value == "" {
			continue
		}
		name := clip.Line(key, maxFalcoName, nil)
		cost := clip.Units(name) + clip.Units(value)
		if cost > room || len(list) == maxFalcoFacts {
			left++
			continue
		}
		room -= cost
		list = append(list, labelled{name, value})
	}
	if left > 0 {
		list = append(list, labelled{clip.Ellipsis, fmt.Sprintf("%d more fields", left)})
	}
	for _, l := range []labelled{
		{"rule", f.Rule},
		{"priority", f.Priority.String()},
		{"source", f.Source},
		{"hostname", f.Hostname},
		{"tags", strings.Join(slices.Sorted(slices.Values(f.Tags)), ", ")},
	} {
		if l.value != "" {
			list = append(list, labelled{l.name, clip.Line(l.value, maxFalcoValue/2, nil)})
		}
	}
	return list
}

// outcomeStyle is one of the colours that containers have in Teams' themes.
func outcomeStyle(o summary.Outcome) string {
	switch o {
	case summary.Blocked:
		return "attention"
	case summary.WouldBlock, summary.Audited:
		return "warning"
	case summary.System:
		return "accent"
	}
	return "emphasis"
}

func priorityStyle(p schema.Priority) string {
	switch {
	case p >= schema.PriorityCritical:
		return "attention"
	case p >= schema.PriorityWarning:
		return "warning"
	case p >= schema.PriorityInformational:
		return "accent"
	}
	return "emphasis"
}
