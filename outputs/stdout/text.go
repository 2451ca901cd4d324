package stdout

import (
	"fmt"
	"strings"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

const (
	maxHeadline = 300
	maxValue    = 200
)

// line is an event on one line: when, what became of it, what happened, where,
// by which policy. Nothing in it can move a terminal's cursor or begin a line.
func line(e *schema.Event) ([]byte, error) {
	s := summary.Of(e)
	word := strings.ToUpper(s.Outcome.String())
	if e.Falco != nil {
		word = strings.ToUpper(e.Falco.Priority.String())
	}
	parts := []string{s.When, word, clip.Line(s.Headline, maxHeadline, nil)}
	for _, f := range s.Facts {
		switch f.Name {
		case "Container", "Pod", "Task", "Namespace", "Policy", "Severity", "Program", "Parent":
			parts = append(parts, fmt.Sprintf("%s=%s", strings.ToLower(f.Name), clip.Line(f.Value, maxValue, nil)))
		}
	}
	if e.Falco != nil {
		parts = append(parts, "rule="+clip.Line(e.Falco.Rule, maxValue, nil))
	}
	return []byte(strings.Join(parts, "  ")), nil
}
