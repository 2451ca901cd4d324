package slack

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/sidearmor/sidearmor/schema"
)

// Preview shows on a terminal the message that would be sent for e with the
// default settings. It is made from the message itself, not beside it.
func Preview(e *schema.Event) ([]byte, error) {
	s := style{username: defaultUsername, footer: defaultFooter, format: formatAll}
	return []byte(s.preview(e)), nil
}

// Preview implements outputs.Previewer.
func (o *output) Preview(e *schema.Event) (string, error) {
	var err error
	if e.Falco != nil {
		_, err = o.falcoWorded(e.Falco)
	} else {
		_, err = o.worded(e)
	}
	return o.preview(e), err
}

func (s *style) preview(e *schema.Event) string {
	var lines []string
	if e.Falco != nil {
		lines = previewFalco(s.falcoMessage(e.Falco))
	} else {
		m := s.message(e)
		lines = previewBlocks(m.Blocks.BlockSet)
		for _, a := range m.Attachments {
			lines = append(lines, previewBlocks(a.Blocks.BlockSet)...)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  ┌ %s", s.username)
	for _, l := range lines {
		b.WriteString("\n  │ " + unescape.Replace(l))
	}
	return b.String()
}

var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

func previewBlocks(blocks []slack.Block) []string {
	var lines []string
	for _, block := range blocks {
		switch b := block.(type) {
		case *slack.HeaderBlock:
			lines = append(lines, b.Text.Text)
		case *slack.SectionBlock:
			if b.Text != nil {
				lines = append(lines, strings.Split(b.Text.Text, "\n")...)
			}
			for _, f := range b.Fields {
				name, value, _ := strings.Cut(f.Text, "\n")
				lines = append(lines, column(strings.Trim(name, "*"), value))
			}
		case *slack.ContextBlock:
			var parts []string
			for _, element := range b.ContextElements.Elements {
				if text, ok := element.(*slack.TextBlockObject); ok {
					parts = append(parts, text.Text)
				}
			}
			lines = append(lines, strings.Join(parts, " · "))
		}
	}
	return lines
}

func previewFalco(m falcoMessage) []string {
	var lines []string
	if m.Text != "" {
		lines = strings.Split(m.Text, "\n")
	}
	for _, a := range m.Attachments {
		lines = append(lines, strings.Split(a.Text, "\n")...)
		for _, f := range a.Fields {
			lines = append(lines, column(f.Title, strings.ReplaceAll(f.Value, "\n", " ")))
		}
		lines = append(lines, a.Footer)
	}
	return lines
}

func column(name, value string) string { return fmt.Sprintf("%-10s %s", name, value) }
