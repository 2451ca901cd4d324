package chat

import (
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// maxWording bounds what a template makes, in UTF-16 units.
const maxWording = 400

// Values of outputformat.
const (
	formatAll    = "all"
	formatText   = "text"
	formatFields = "fields"
)

// Style is what a text has; the zero value is everything.
type Style struct {
	format  string
	footer  string
	wording *template.Template // nil for none
}

// StyleSettings are those of FalcoSidekick's chats.
func StyleSettings() []outputs.Setting {
	return []outputs.Setting{
		{Key: "outputformat", Default: formatAll, Usage: "what a message has: all, text or fields"},
		{Key: "messageformat", Usage: "Go template over a Falco event, or a KubeArmor event in its form, for a first line: .Rule .Priority .Output; shown as code"},
	}
}

// NewStyle reads StyleSettings. The footer, a last line in the user's own words, is
// the caller's to read where there is one.
func NewStyle(v outputs.Values, footer string) (Style, error) {
	s := Style{format: v.String("outputformat"), footer: footer}
	switch s.format {
	case formatAll, formatText, formatFields:
	case "field": // FalcoSidekick's documentation
		s.format = formatFields
	default:
		return s, fmt.Errorf("%s: %q is none of all, text, fields", v.Name("outputformat"), s.format)
	}
	if text := v.String("messageformat"); text != "" {
		var err error
		if s.wording, err = template.New("template").Option("missingkey=zero").Parse(text); err != nil {
			return s, fmt.Errorf("%s: %w", v.Name("messageformat"), err)
		}
		err = s.wording.Execute(io.Discard, &schema.FalcoEvent{})
		if err != nil && strings.Contains(err.Error(), "can't evaluate field") {
			return s, fmt.Errorf("%s: %w", v.Name("messageformat"), err)
		}
	}
	return s, nil
}

// worded is what the template says of an event, or why it says nothing.
func (s *Style) worded(e *schema.Event) string {
	if s.wording == nil {
		return ""
	}
	var b strings.Builder
	f := e.ToFalco()
	if err := s.wording.Execute(&b, &f); err != nil {
		return "messageformat: " + err.Error()
	}
	return strings.TrimSpace(b.String())
}
