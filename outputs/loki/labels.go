package loki

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/schema"
)

const (
	// maxExtra keeps the number of labels below max_label_names_per_series, which
	// is 15 by default.
	maxExtra = 10
	// maxValue is far below max_label_value_length, 2048 by default.
	maxValue = 200
	// maxValues is how many values one label may have. Workloads choose some of
	// them, and every combination is a stream that Loki keeps files for.
	maxValues = 100
	// other stands for the values beyond.
	other = "other"
)

// labeller gives the labels of events and keeps their number small. It is not
// safe for concurrent use.
type labeller struct {
	extra []field
	seen  map[string]map[string]bool // label: values
}

// field is an output field that becomes a label.
type field struct{ label, name string }

func newLabeller(extra string) (*labeller, error) {
	l := &labeller{seen: map[string]map[string]bool{}}
	for name := range strings.SplitSeq(extra, ",") {
		if name = strings.TrimSpace(name); name != "" {
			l.extra = append(l.extra, field{label: labelName(name), name: name})
		}
	}
	if len(l.extra) > maxExtra {
		return nil, fmt.Errorf("%d labels, at most %d", len(l.extra), maxExtra)
	}
	return l, nil
}

// labelName makes a name that Prometheus allows, as FalcoSidekick does.
func labelName(s string) string {
	name := strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
	if name[0] >= '0' && name[0] <= '9' {
		return "_" + name
	}
	return name
}

func (l *labeller) of(f *schema.FalcoEvent) map[string]string {
	labels := map[string]string{}
	for _, known := range []struct{ label, value string }{
		{"source", cmp.Or(f.Source, "unknown")}, // a stream must have a label
		{"priority", f.Priority.String()},
		{"rule", f.Rule},
		{"k8s_ns_name", text(f, "k8s.ns.name")},
	} {
		l.set(labels, known.label, known.value)
	}
	for _, e := range l.extra {
		l.set(labels, e.label, text(f, e.name))
	}
	return labels
}

func (l *labeller) set(labels map[string]string, label, value string) {
	if value == "" {
		return
	}
	value = clip.Line(value, maxValue, nil)
	values := l.seen[label]
	if values == nil {
		values = map[string]bool{}
		l.seen[label] = values
	}
	if !values[value] {
		if len(values) >= maxValues {
			labels[label] = other
			return
		}
		values[value] = true
	}
	labels[label] = value
}

// text is an output field, or one of the event's own by its name.
func text(f *schema.FalcoEvent, name string) string {
	switch name {
	case "hostname":
		return f.Hostname
	case "tags":
		return strings.Join(f.Tags, ",")
	}
	switch v := f.OutputFields[name].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}
