package enrich

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

func falcoEvent() schema.Event {
	return schema.Event{Kind: schema.KindFalco, Falco: &schema.FalcoEvent{
		Output: "15:04:05.000000001: Warning a shell (proc=bash)", Priority: schema.PriorityWarning, Rule: "Terminal shell",
		Time: time.Unix(0, 0), Tags: []string{"b", "a"},
		OutputFields: map[string]any{"proc.name": "bash", "n": json.Number("3"), "args[0]": "x", "env": "prod"},
	}}
}

func apply(t *testing.T, o Options, e schema.Event) (schema.Event, error) {
	t.Helper()
	enricher, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e, enricher.Apply(&e)
}

// As FalcoSidekick's newFalcoPayload has it.
func TestFalco(t *testing.T) {
	e, err := apply(t, Options{
		CustomFields: map[string]string{"env": "prod"}, CustomTags: []string{"aa"},
		TemplatedFields:   map[string]string{"who": `{{ index . "proc.name" }}-{{ .n }}`, "missing": `{{ .nothing }}`},
		BracketReplacer:   "_",
		OutputFieldFormat: "<timestamp>|<priority>|<output>|<custom_fields>|<templated_fields>|<tags>",
	}, falcoEvent())
	if err != nil {
		t.Fatal(err)
	}
	f := e.Falco
	want := map[string]any{
		"proc.name": "bash", "n": json.Number("3"), "args_0": "x", "env": "prod", "who": "bash-3", "missing": "<no value>",
	}
	if !maps.Equal(f.OutputFields, want) {
		t.Errorf("fields %v", f.OutputFields)
	}
	if !slices.Equal(f.Tags, []string{"a", "aa", "b"}) || f.Source != "syscalls" || f.UUID == "" {
		t.Errorf("%+v", f)
	}
	if want := "15:04:05.000000001|Warning|a shell (proc=bash)|env=prod|missing=<no value> who=bash-3|a,aa,b"; f.Output != want {
		t.Errorf("output %q, want %q", f.Output, want)
	}
}

func TestOutputFormat(t *testing.T) {
	for _, c := range []struct{ output, format, want string }{
		{"15:04:05.0: WARNING a b", "<priority>: <output>", "Warning: a b"},
		{"15:04:05.0: Warning a b", "<output> (<custom_fields> <templated_fields>) ", "a b"},
		{"15:04:05.0: Warning a <tags>", "<output> [<tags>]", "a <tags> [a,b]"},
		{"a shell was opened", "<output>!", "a shell was opened"},
		{"15:04:05.0: Nonsense a b", "<output>!", "15:04:05.0: Nonsense a b"},
		{"15:04:05.0: Warning", "<output>!", "15:04:05.0: Warning"},
		{"", "<output>!", ""},
	} {
		e := falcoEvent()
		e.Falco.Output = c.output
		if e, _ = apply(t, Options{OutputFieldFormat: c.format}, e); e.Falco.Output != c.want {
			t.Errorf("%q by %q: %q, want %q", c.output, c.format, e.Falco.Output, c.want)
		}
	}
}

// What a template cannot do costs its own field, and no more than the bound.
func TestTemplatesThatFail(t *testing.T) {
	if _, err := New(Options{TemplatedFields: map[string]string{"bad": "{{ .a"}}); err == nil || !strings.Contains(err.Error(), "field bad: ") {
		t.Errorf("error %v", err)
	}
	for text, want := range map[string]string{
		`<{{ slice (index . "proc.name") 9 }}>`: "templated field made: ",
		`{{ printf "%300000d" 1 }}`:             "makes more than",
	} {
		e, err := apply(t, Options{TemplatedFields: map[string]string{"made": text}, CustomTags: []string{"last"}}, falcoEvent())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		if !slices.Contains(e.Falco.Tags, "last") || len(e.Falco.OutputFields["made"].(string)) > maxFieldBytes {
			t.Errorf("%s: %+v", text, e.Falco)
		}
	}
}

func TestKubeArmor(t *testing.T) {
	o := Options{CustomFields: map[string]string{"env": "prod"}, CustomTags: []string{"x"}, TemplatedFields: map[string]string{"t": "v"}}
	alert := schema.Event{Kind: schema.KindAlert, Alert: &schema.Alert{Tags: "A,B"}}
	if _, err := apply(t, o, alert); err != nil {
		t.Fatal(err)
	}
	if a := alert.Alert; !maps.Equal(a.EventData, map[string]string{"env": "prod"}) || a.Tags != "A,B,x" || !slices.Equal(a.ATags, []string{"A", "B", "x"}) {
		t.Errorf("%+v", a)
	}
	log := schema.Event{Kind: schema.KindLog, Log: &schema.Log{Record: schema.Record{EventData: map[string]string{"Syscall": "s"}}}}
	if _, err := apply(t, o, log); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(log.Log.EventData, map[string]string{"Syscall": "s", "env": "prod"}) {
		t.Errorf("%+v", log.Log)
	}
}

// Without settings an event gets what FalcoSidekick adds to all.
func TestNothingIsAskedFor(t *testing.T) {
	var none *Enricher
	e := falcoEvent()
	e.Falco.Rule = testRule
	if err := none.Apply(&e); err != nil || e.Falco.Source != "internal" || e.Falco.UUID == "" || !slices.Equal(e.Falco.Tags, []string{"a", "b"}) {
		t.Errorf("%+v, %v", e.Falco, err)
	}
	if none.KubeArmor() || none.CustomFields() != nil {
		t.Error("something is added")
	}
}

func TestLabel(t *testing.T) {
	for field, want := range map[string]string{
		"env": "env", "k8s.cluster.name": "k8s_cluster_name", "a1_": "a1_",
		"1a": "", "a-b": "", "args[0]": "", "": "", "é": "", "__name__": "", "rule": "", "k8s.ns.name": "", "a:b": "",
	} {
		if name, ok := Label(field); ok != (want != "") || ok && name != want {
			t.Errorf("%q: %q, %v", field, name, ok)
		}
	}
}
