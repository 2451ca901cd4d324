package simulate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/sidearmor/sidearmor/schema"
)

// Text is the report for people, with at most limit groups; 0 is all.
func (r *Report) Text(limit int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d events: %d would have been denied, %d alerted, %d passed.\n", r.Events, r.Denied, r.Alerted, r.Passed)
	shown := r.Groups
	if limit > 0 && len(shown) > limit {
		shown = shown[:limit]
	}
	if len(shown) > 0 {
		b.WriteByte('\n')
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "EVENTS\tOUTCOME\tPOLICY\tOPERATION\tPROGRAM\tRESOURCE\tTHEN")
		for i := range shown {
			g := &shown[i]
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Events, g.Outcome, plain(g.Policy), g.Operation, plain(g.Program), plain(g.Resource), plain(before(g)))
		}
		_ = w.Flush() // a strings.Builder takes everything
	}
	if left := len(r.Groups) - len(shown); left > 0 {
		fmt.Fprintf(&b, "… and %d lines more: --limit 0 shows all\n", left)
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "%d events more are of too many kinds to be listed.\n", r.More)
	}
	for _, why := range slices.Sorted(maps.Keys(r.Skipped)) {
		fmt.Fprintf(&b, "\n%d events could not be tried: %s", r.Skipped[why], why)
	}
	for _, name := range r.Unused {
		fmt.Fprintf(&b, "\npolicy %s: selects the container of no event", plain(name))
	}
	for _, note := range r.NotDone {
		fmt.Fprintf(&b, "\n%s", plain(note))
	}
	if len(r.Skipped)+len(r.Unused)+len(r.NotDone) > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}

// before is what became of the first event of a group.
func before(g *Group) string {
	if g.Before == schema.ResultPassed {
		return "passed"
	}
	return g.Before
}

// plain keeps what a workload has named from moving the cursor of who reads it.
func plain(s string) string {
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
