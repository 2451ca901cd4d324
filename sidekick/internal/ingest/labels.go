package ingest

import (
	"strconv"
	"strings"

	"github.com/sidearmor/sidearmor/schema"
)

// unknownHost is FalcoSidekick's label of an event without a host name.
const unknownHost = "unknown"

// falcoLabels are the values, in the order of the names. Those that come from what is
// posted are other once there are too many; the priorities always tell.
func (m *metrics) falcoLabels(f *schema.FalcoEvent) []string {
	field := func(key string) string {
		s, _ := f.OutputFields[key].(string)
		return label(s)
	}
	host := label(f.Hostname)
	if host == "" {
		host = unknownHost
	}
	number, word := strconv.Itoa(int(f.Priority)), strings.ToLower(f.Priority.String())
	labels := []string{host, label(f.Rule), number, word, label(f.Source), field("k8s.ns.name"), field("k8s.pod.name")}
	for _, key := range m.fields {
		labels = append(labels, field(key))
	}
	joined := strings.Join(labels, "\xff") // of which valid UTF-8 has none
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.seen[joined]; ok {
		return labels
	}
	if len(m.seen) < maxSeries {
		m.seen[joined] = struct{}{}
		return labels
	}
	for i := range labels {
		labels[i] = other
	}
	labels[2], labels[3] = number, word
	return labels
}
