package discord

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Discord's limits (https://docs.discord.com/developers/resources/message#embed-object-embed-limits).
const (
	maxTitle       = 256
	maxDescription = 4096
	maxName        = 256
	maxValue       = 1024
	maxFooter      = 2048
	maxFields      = 25
	maxTotal       = 6000 // title, description, names, values and footer together
	maxWording     = 1400 // of a template; all facts fit beside it
)

// message is the body of a webhook call, with the keys in FalcoSidekick's order.
type message struct {
	Content         string          `json:"content"`
	AvatarURL       string          `json:"avatar_url,omitempty"`
	AllowedMentions allowedMentions `json:"allowed_mentions"`
	Embeds          []embed         `json:"embeds"`
}

// allowedMentions with an empty list: nothing in the message can ping.
type allowedMentions struct {
	Parse []string `json:"parse"`
}

type embed struct {
	Title       string  `json:"title,omitempty"`
	Description string  `json:"description,omitempty"`
	Color       int     `json:"color"`
	Timestamp   string  `json:"timestamp,omitempty"`
	Fields      []field `json:"fields"`
	Footer      *footer `json:"footer,omitempty"`
}

type field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Inline bool   `json:"inline"`
}

type footer struct {
	Text string `json:"text"`
}

func (o *output) message(e *schema.Event) message {
	if e.Falco != nil {
		return o.envelope(falcoEmbed(e.Falco))
	}
	return o.envelope(o.kubearmorEmbed(e))
}

// falcoEmbed lays out a Falco event as FalcoSidekick does: rule, priority,
// source, hostname, output fields by name, tags, time. It differs where Discord
// would refuse the message or show it wrong: the colour is a number, empty
// values are left out, everything is bounded, markup is escaped. Numbers and
// booleans among the output fields are shown, which FalcoSidekick drops.
// More fields come before those of the event.
func falcoEmbed(f *schema.FalcoEvent, more ...field) embed {
	b := builder{embed: embed{Color: falcoColor(f.Priority), Fields: []field{}}}
	// Half of the total is kept for the fields.
	b.describe(lines(f.Output, maxTotal/2))
	for _, m := range more {
		b.field(m.Name, m.Value)
	}
	b.field("rule", inline(f.Rule))
	b.field("priority", inline(f.Priority.String()))
	b.field("source", inline(f.Source))
	b.field("hostname", inline(f.Hostname))
	last := []field{
		{Name: "tags", Value: inline(strings.Join(slices.Sorted(slices.Values(f.Tags)), ", "))},
		{Name: "time", Value: f.Time.String()},
	}
	b.reserve(last)
	for _, key := range slices.Sorted(maps.Keys(f.OutputFields)) {
		b.field(line(key, maxName), block(summary.Scalar(f.OutputFields[key])))
	}
	b.release(last)
	for _, l := range last {
		b.field(l.Name, l.Value)
	}
	return b.embed
}

// kubearmorEmbed lays out a KubeArmor event: a title that says what happened,
// what the policy says of it, who did it to what and where, and below in small
// print what else is known. Its bounds add up to less than maxTotal, so that no
// fact is ever left out for a long message.
func (o *output) kubearmorEmbed(e *schema.Event) embed {
	s := summary.Of(e)
	return o.embed(e, s.Outcome.Icon()+" "+s.Outcome.String()+": "+s.Headline, &s)
}

func (o *output) embed(e *schema.Event, title string, s *summary.Summary) embed {
	b := builder{embed: embed{Color: outcomeColor(s.Outcome), Fields: []field{}}}
	b.title(line(title, maxTitle))
	words, err := o.worded(e)
	switch {
	case err != nil:
		b.describe(line("kubearmorformat: "+err.Error(), maxWording))
	case words != "":
		b.describe(words)
	case s.Message != s.Headline:
		b.describe(line(s.Message, 800))
	}
	b.foot(smallPrint(s))
	if t := e.Time(); !t.IsZero() {
		b.embed.Timestamp = t.UTC().Format(time.RFC3339Nano)
	}
	for _, f := range s.Facts {
		value := line(f.Value, 250)
		if f.Code {
			value = code(f.Value, 250)
		}
		if f.Detail != "" {
			value += " " + line("("+f.Detail+")", 100)
		}
		b.field(f.Name, value)
	}
	return b.embed
}

// worded gives what the user's template says of e, "" for nothing.
func (o *output) worded(e *schema.Event) (string, error) {
	if o.wording == nil {
		return "", nil
	}
	text, err := o.wording.Execute(e, func(text string) string { return lines(text, 500) })
	return clip.Lines(text, maxWording, nil), err
}

// smallPrint goes to the footer, in which Discord knows no markup.
func smallPrint(s *summary.Summary) string {
	parts := []string{s.When}
	for _, f := range s.More {
		parts = append(parts, f.Name+": "+clip.Line(f.Value, 150, nil))
	}
	return strings.Join(parts, " · ")
}

// falcoColor is FalcoSidekick's colour for a priority, as the number that
// Discord takes instead of the string that FalcoSidekick sends.
func falcoColor(p schema.Priority) int {
	switch p {
	case schema.PriorityEmergency:
		return 15158332
	case schema.PriorityAlert:
		return 11027200
	case schema.PriorityCritical:
		return 15105570
	case schema.PriorityError:
		return 15844367
	case schema.PriorityWarning:
		return 12745742
	case schema.PriorityNotice:
		return 3066993
	case schema.PriorityInformational:
		return 3447003
	case schema.PriorityDebug:
		return 12370112
	}
	return 0
}

func outcomeColor(o summary.Outcome) int {
	switch o {
	case summary.Blocked:
		return 0xe20b0b
	case summary.WouldBlock:
		return 0xff5400
	case summary.Audited:
		return 0xffc700
	case summary.System:
		return 0x5bffb5
	}
	return 0x68c2ff
}
