package enrich

import (
	"strings"

	"github.com/sidearmor/sidearmor/schema"
)

// format writes the output by OUTPUTFIELDFORMAT. As with FalcoSidekick, only an output
// that begins as Falco's do is written anew: "15:04:05.000000000: Warning …".
func (e *Enricher) format(f *schema.FalcoEvent, made string) string {
	timestamp, rest, ok := strings.Cut(f.Output, " ")
	word, text, complete := strings.Cut(rest, " ")
	if !ok || !complete || !isClock(timestamp) || !isPriority(word) {
		return f.Output
	}
	// One pass: what a field holds is never taken for a word of the format.
	output := strings.NewReplacer(
		"<timestamp>", strings.TrimSuffix(timestamp, ":"),
		"<priority>", f.Priority.String(),
		"<output>", text,
		"<custom_fields>", e.custom,
		"<templated_fields>", made,
		"<tags>", strings.Join(f.Tags, ","),
	).Replace(e.options.OutputFieldFormat)
	for _, left := range []string{" ", "( )", "()", " "} { // of fields that are empty
		output = strings.TrimSuffix(output, left)
	}
	return output
}

// isClock recognises "15:04:05.000000000:".
func isClock(s string) bool {
	s, ok := strings.CutSuffix(s, ":")
	whole, fraction, dotted := strings.Cut(s, ".")
	return ok && dotted && onlyOf(whole, "0123456789:") && onlyOf(fraction, "0123456789")
}

func onlyOf(s, characters string) bool {
	return s != "" && strings.Trim(s, characters) == ""
}

func isPriority(word string) bool {
	p, err := schema.ParsePriority(word)
	return err == nil && p != schema.PriorityDefault
}
