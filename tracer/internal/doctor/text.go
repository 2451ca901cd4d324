package doctor

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Text is the report for people: a table, then what follows from what is missing.
func (r *Report) Text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FEATURE\tSTATE\tDETAIL")
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, f.State, f.Detail)
	}
	_ = w.Flush() // a strings.Builder takes everything
	first := true
	for _, f := range r.Findings {
		if f.Effect == "" {
			continue
		}
		if first {
			b.WriteString("\nWhat follows:\n")
			first = false
		}
		fmt.Fprintf(&b, "- %s: %s\n", f.Name, f.Effect)
	}
	fmt.Fprintf(&b, "\n%s\n", r.Verdict)
	return b.String()
}
