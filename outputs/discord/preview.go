package discord

import (
	"fmt"
	"strings"

	"github.com/sidearmor/sidearmor/schema"
)

// Preview implements outputs.Previewer. It is made from the message itself, not
// beside it, with Discord's escapes as they are sent.
func (o *output) Preview(e *schema.Event) (string, error) {
	var err error
	if e.Falco == nil {
		_, err = o.worded(e)
	}
	content := o.message(e).Embeds[0]
	var lines []string
	for _, text := range []string{content.Title, content.Description} {
		if text != "" {
			lines = append(lines, strings.Split(text, "\n")...)
		}
	}
	for _, f := range content.Fields {
		lines = append(lines, fmt.Sprintf("%-10s %s", f.Name, strings.ReplaceAll(f.Value, "\n", " ")))
	}
	if content.Footer != nil {
		lines = append(lines, content.Footer.Text)
	}
	return "  ┌ Discord\n  │ " + strings.Join(lines, "\n  │ "), err
}
