package identity

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Every event carries the identity, so what foreign hands can fill is bounded.
const (
	maxEnv    = 8192 // bytes of one variable
	maxValue  = 1024 // bytes of one value
	maxLabels = 64
	maxText   = 4096 // bytes of all labels in an event
)

// parseLabels reads "k=v,k=v"; nil when there is none.
func parseLabels(s string) map[string]string {
	var labels map[string]string
	for pair := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(pair, "=")
		labels = addLabel(labels, strings.TrimSpace(key), strings.TrimSpace(value), ok)
	}
	return labels
}

// parseLabelsFile reads a file of the downward API: lines of key="value" with
// the escapes of Go.
func parseLabelsFile(s string) map[string]string {
	var labels map[string]string
	for line := range strings.Lines(s) {
		key, quoted, ok := strings.Cut(strings.TrimSpace(line), "=")
		value, err := strconv.Unquote(quoted)
		if err != nil {
			value = quoted
		}
		labels = addLabel(labels, key, value, ok)
	}
	return labels
}

func addLabel(labels map[string]string, key, value string, ok bool) map[string]string {
	if !ok || key == "" || len(labels) >= maxLabels {
		return labels
	}
	if labels == nil {
		labels = map[string]string{}
	}
	labels[clip(key, maxValue)] = clip(value, maxValue)
	return labels
}

// formatLabels writes labels as KubeArmor does: "k=v,k=v", here in a fixed
// order, without those that controllers add, and without those of ECS, which
// repeat what the other fields say. Policies can select by all of them.
func formatLabels(labels map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		switch key {
		case "pod-template-hash", "pod-template-generation", "controller-revision-hash":
			continue
		}
		if strings.HasPrefix(key, "com.amazonaws.ecs.") {
			continue
		}
		pair := key + "=" + labels[key]
		if b.Len()+len(pair)+1 > maxText {
			break
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pair)
	}
	return b.String()
}

// clip makes s valid and cuts it to at most limit bytes.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
