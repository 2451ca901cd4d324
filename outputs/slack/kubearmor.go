package slack

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Slack's limits (https://docs.slack.dev/reference/block-kit/blocks): 50 blocks,
// 150 characters in a header, 3000 in a section's text, 2000 in each of at most
// 10 fields, 10 elements in a context. The blocks below stay under all of them
// by construction; values are kept much shorter than they could be, because
// nobody reads 2000 characters at a glance and the workload chooses them.
const (
	maxHeader  = 150
	maxMessage = 1500
	maxWording = 2900 // of a template
	maxFields  = 10
	maxValue   = 600
	maxDetail  = 150
	maxContext = 300
	maxPlain   = 1000 // the fallback text, for notifications
)

// message lays out a KubeArmor event: a header that says what happened, then
// beside a bar in the colour of the outcome what the policy says of it, who did
// it to what and where, and below in small print what else is known.
func (s *style) message(e *schema.Event) *slack.WebhookMessage {
	sum := summary.Of(e)
	return s.laidOut(e, sum.Outcome.Icon()+" "+sum.Outcome.String()+": "+sum.Headline, &sum)
}

func (s *style) laidOut(e *schema.Event, title string, sum *summary.Summary) *slack.WebhookMessage {
	blocks := []slack.Block{slack.NewHeaderBlock(plain(title, maxHeader))}
	text := fallback(title, sum)
	if above, err := s.worded(e); err != nil {
		blocks = append([]slack.Block{slack.NewSectionBlock(plain("kubearmorformat: "+err.Error(), maxMessage), nil, nil)}, blocks...)
	} else if above != "" {
		blocks, text = append([]slack.Block{slack.NewSectionBlock(markdown(above), nil, nil)}, blocks...), above
	}
	return &slack.WebhookMessage{
		Username: s.username,
		IconURL:  s.icon,
		Channel:  s.channel,
		Text:     text,
		Blocks:   &slack.Blocks{BlockSet: blocks},
		Attachments: []slack.Attachment{{
			Color:  color(sum.Outcome),
			Blocks: slack.Blocks{BlockSet: s.body(sum)},
		}},
	}
}

// worded gives what the user's template says of e, "" for nothing.
func (s *style) worded(e *schema.Event) (string, error) {
	if s.wording == nil {
		return "", nil
	}
	text, err := s.wording.Execute(e, func(text string) string { return lines(text, maxValue) })
	return clip.Lines(text, maxWording, nil), err
}

func (s *style) body(sum *summary.Summary) []slack.Block {
	var blocks []slack.Block
	if sum.Message != "" && sum.Message != sum.Headline {
		// Plain text, so that nothing in it is taken for markup.
		blocks = append(blocks, slack.NewSectionBlock(plain(sum.Message, maxMessage), nil, nil))
	}
	if len(sum.Facts) > 0 {
		if s.format == formatText {
			blocks = append(blocks, slack.NewSectionBlock(markdown(sentence(sum.Facts)), nil, nil))
		} else {
			blocks = append(blocks, slack.NewSectionBlock(nil, fields(sum.Facts), nil))
		}
	}
	return append(blocks, s.context(sum))
}

// fields are the facts in two columns.
func fields(facts []summary.Fact) []*slack.TextBlockObject {
	var list []*slack.TextBlockObject
	for _, f := range facts[:min(len(facts), maxFields)] {
		text := "*" + f.Name + "*\n" + value(f, maxValue)
		list = append(list, markdown(text))
	}
	return list
}

// sentence is the facts in one paragraph.
func sentence(facts []summary.Fact) string {
	var parts []string
	for _, f := range facts[:min(len(facts), maxFields)] {
		parts = append(parts, strings.ToLower(f.Name)+" "+value(f, 200))
	}
	return strings.Join(parts, ", ")
}

// context is the small print: when, what else is known, the footer.
func (s *style) context(sum *summary.Summary) slack.Block {
	elements := []slack.MixedElement{markdown(sum.When)}
	if s.format != formatText {
		for _, f := range sum.More[:min(len(sum.More), 8)] {
			elements = append(elements, markdown(f.Name+" "+value(f, maxContext)))
		}
	}
	if s.footer != "" {
		elements = append(elements, markdown(line(s.footer, maxContext)))
	}
	return slack.NewContextBlock("", elements...)
}

func value(f summary.Fact, limit int) string {
	text := line(f.Value, limit)
	if f.Code {
		text = code(f.Value, limit)
	}
	if f.Detail != "" {
		text += " (" + line(f.Detail, maxDetail) + ")"
	}
	return text
}

// fallback is what a notification shows, and a client that knows no blocks.
func fallback(title string, sum *summary.Summary) string {
	text := title
	for _, f := range sum.Facts {
		switch f.Name {
		case "Container", "Pod", "Task", "Policy", "Severity":
			text += fmt.Sprintf(", %s %s", strings.ToLower(f.Name), clip.Line(f.Value, maxDetail, nil))
		}
	}
	return line(text, maxPlain)
}

func color(o summary.Outcome) string {
	switch o {
	case summary.Blocked:
		return "#e20b0b"
	case summary.WouldBlock:
		return "#ff5400"
	case summary.Audited:
		return "#ffc700"
	case summary.System:
		return "#5bffb5"
	}
	return "#68c2ff"
}

// plain is text in which Slack looks for no markup and no :emoji:.
func plain(s string, limit int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, line(s, limit), false, false)
}

// markdown is text of ours, in which foreign text is escaped already. Verbatim
// keeps Slack from making links of names and addresses in it.
func markdown(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, s, false, true)
}
