package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

// As variables and in YAML, commas and colons within a template included.
func TestEnrichment(t *testing.T) {
	for name, in := range map[string]struct {
		text string
		env  []string
	}{
		"variables": {"", []string{
			"CUSTOMTAGS=one, %ZONE,", "ZONE=z1", `TEMPLATEDFIELDS=both:{{ printf "%s,%s" .a .b }}, plain:x:y`, "BRACKETREPLACER= ",
			"PROMETHEUS_EXTRALABELS=proc.name, a-b,both,rule",
		}},
		"file": {strings.Join([]string{
			"customtags: [one, '%ZONE']", `templatedfields: {both: '{{ printf "%s,%s" .a .b }}', plain: 'x:y'}`, "bracketreplacer: ' '",
			"prometheus: {extralabels: 'proc.name,a-b,both,rule'}",
		}, "\n"), []string{"ZONE=z1"}},
	} {
		c, err := load(t, in.text, in.env...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f := &schema.FalcoEvent{OutputFields: map[string]any{"a": "1", "b": "2", "x[0]": "y"}}
		if err := c.Enricher.Apply(&schema.Event{Kind: schema.KindFalco, Falco: f}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(f.Tags, []string{"one", "z1"}) || f.OutputFields["both"] != "1,2" || f.OutputFields["plain"] != "x:y" || f.OutputFields["x 0"] != "y" {
			t.Errorf("%s: %+v", name, f)
		}
		if !slices.Equal(c.MetricFields, []string{"both", "plain", "proc.name"}) {
			t.Errorf("%s: labels %v", name, c.MetricFields)
		}
		if w := strings.Join(c.Warnings, "; "); !strings.Contains(w, `"a-b" has no effect`) || !strings.Contains(w, `"rule" has no effect`) || len(c.Warnings) != 2 {
			t.Errorf("%s: warnings %s", name, w)
		}
	}
}

func TestEnrichmentRefused(t *testing.T) {
	for env, want := range map[string]string{
		"TEMPLATEDFIELDS=a:{{.b": "TEMPLATEDFIELDS: field a: ",
		"TEMPLATEDFIELDS=a":      "TEMPLATEDFIELDS: field 1 is not name:value",
		"CUSTOMTAGS=a,%NOPE":     "CUSTOMTAGS: tag 2 asks for variable NOPE, which is not set",
	} {
		if _, err := load(t, "", env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
}
