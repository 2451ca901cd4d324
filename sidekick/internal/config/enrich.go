package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/sidekick/internal/enrich"
)

const bracketReplacerPath = "bracketreplacer"

// enrichment reads what is added to events, and what of it are labels of the metric
// of Falco events.
func (l *loader) enrichment(c *Config) {
	o := enrich.Options{CustomFields: l.customFields(), CustomTags: l.customTags()}
	templates := l.get("templatedfields")
	o.TemplatedFields = l.fields(templates)
	o.BracketReplacer = l.get(bracketReplacerPath).text
	o.OutputFieldFormat = l.get("outputfieldformat").text
	enricher, err := enrich.New(o)
	if err != nil {
		l.problem("%s: %w", templates.name, err)
	}
	c.Enricher = enricher
	c.MetricFields = l.metricFields(o)
}

// metricFields are, as with FalcoSidekick, all custom and templated fields whose names
// can be those of labels, and PROMETHEUS_EXTRALABELS.
func (l *loader) metricFields(o enrich.Options) []string {
	var list, names []string
	add := func(field string) bool {
		name, ok := enrich.Label(field)
		if !ok {
			return false
		}
		if !slices.Contains(names, name) {
			list, names = append(list, field), append(names, name)
		}
		return true
	}
	for _, fields := range []map[string]string{o.CustomFields, o.TemplatedFields} {
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			add(field) // without a word: the field itself has its effect
		}
	}
	v := l.get("prometheus.extralabels")
	for _, field := range items(v.text) {
		if !add(field) {
			l.off = append(l.off, fmt.Sprintf("%s: %q has no effect: it cannot be a label, or is one already", v.name, field))
		}
	}
	return list
}

// customFields reads CUSTOMFIELDS. A value of the form %NAME is that of the variable
// NAME.
func (l *loader) customFields() map[string]string {
	v := l.get("customfields")
	fields := l.fields(v)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		fields[key] = l.expand(v.name+": field "+key, fields[key])
	}
	return fields
}

// customTags reads CUSTOMTAGS, with %NAME as in CUSTOMFIELDS.
func (l *loader) customTags() []string {
	v := l.get("customtags")
	tags := items(v.text)
	for i, tag := range tags {
		tags[i] = l.expand(fmt.Sprintf("%s: tag %d", v.name, i+1), tag)
	}
	return tags
}

func (l *loader) expand(what, text string) string {
	variable, ok := strings.CutPrefix(text, "%")
	if !ok {
		return text
	}
	if l.all[variable] == "" {
		l.problem("%s asks for variable %s, which is not set", what, variable)
	}
	return l.all[variable]
}

// fields reads "k:v,k2:v2", or in YAML a mapping. Only the first colon separates, so
// that a value may be a URL or an ARN, and no comma within a template's braces.
func (l *loader) fields(v value) map[string]string {
	fields := map[string]string{}
	for i, pair := range pairs(v) {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, text, ok := strings.Cut(pair, ":")
		key, text = strings.TrimSpace(key), strings.TrimSpace(text)
		if !ok || key == "" {
			l.problem("%s: field %d is not name:value", v.name, i+1)
			continue
		}
		if _, twice := fields[key]; twice {
			l.problem("%s: field %s is given twice", v.name, key)
		}
		fields[key] = text
	}
	return fields
}

func pairs(v value) []string {
	if v.isMap {
		return strings.Split(v.text, "\n")
	}
	var list []string
	start, depth := 0, 0
	for i := range len(v.text) {
		switch {
		case strings.HasPrefix(v.text[i:], "{{"):
			depth++
		case strings.HasPrefix(v.text[i:], "}}"):
			depth = max(0, depth-1)
		case v.text[i] == ',' && depth == 0:
			list, start = append(list, v.text[start:i]), i+1
		}
	}
	return append(list, v.text[start:])
}

// items takes a list apart that is separated by commas.
func items(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
