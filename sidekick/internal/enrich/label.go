package enrich

import (
	"regexp"
	"slices"
	"strings"
)

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// EventLabels are FalcoSidekick's labels of falco_events_total, in its order.
func EventLabels() []string {
	return []string{"hostname", "rule", "priority", "priority_raw", "source", "k8s_ns_name", "k8s_pod_name"}
}

// Label gives the label of falco_events_total for an output field, as FalcoSidekick
// names it, and whether there can be one: a name of letters, digits, dots and _, which
// is no label's already.
func Label(field string) (name string, ok bool) {
	name = strings.ReplaceAll(field, ".", "_")
	reserved := strings.HasPrefix(name, "__") || slices.Contains(EventLabels(), name)
	return name, labelName.MatchString(name) && !reserved
}
