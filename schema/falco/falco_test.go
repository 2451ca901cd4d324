package falco

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/falcosecurity/falcosidekick/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sidearmor/sidearmor/schema"
)

const sample = `{"uuid":"u-1","output":"This is a test","priority":"Debug","rule":"Test rule","time":"2001-01-01T01:10:00Z",` +
	`"output_fields":{"proc.name":"falcosidekick","proc.tty":1234,"evt.time":1507591916746609046},"source":"syscalls","tags":["test","example"],"hostname":"test-host"}`

func TestDecode(t *testing.T) {
	e, err := Decode([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	want := schema.Event{Kind: schema.KindFalco, Falco: &schema.FalcoEvent{
		UUID: "u-1", Output: "This is a test", Priority: schema.PriorityDebug, Rule: "Test rule",
		Time: time.Date(2001, 1, 1, 1, 10, 0, 0, time.UTC),
		OutputFields: map[string]any{
			"proc.name": "falcosidekick", "proc.tty": json.Number("1234"), "evt.time": json.Number("1507591916746609046"),
		},
		Source: "syscalls", Tags: []string{"test", "example"}, Hostname: "test-host",
	}}
	if diff := cmp.Diff(want, e, cmpopts.IgnoreUnexported(schema.Event{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if body, err := e.Body(); err != nil {
		t.Error(err)
	} else if _, err := Decode(body); err != nil {
		t.Errorf("refused its own %s: %v", body, err)
	}
}

// FalcoSidekick adds its fields before it checks.
func TestDecodeWith(t *testing.T) {
	for _, none := range []string{`{}`, `null`} {
		body := strings.Replace(sample, `{"proc.name":"falcosidekick","proc.tty":1234,"evt.time":1507591916746609046}`, none, 1)
		e, err := DecodeWith([]byte(body), map[string]string{"env": "prod"})
		if err != nil || len(e.Falco.OutputFields) != 1 || e.Falco.OutputFields["env"] != "prod" {
			t.Errorf("%s: %+v, %v", none, e.Falco, err)
		}
	}
	e, err := DecodeWith([]byte(sample), map[string]string{"proc.name": "mine"})
	if err != nil || e.Falco.OutputFields["proc.name"] != "mine" || len(e.Falco.OutputFields) != 3 {
		t.Errorf("%+v, %v", e.Falco, err)
	}
	if _, err := DecodeWith([]byte(strings.Replace(sample, `"Test rule"`, `""`, 1)), map[string]string{"env": "prod"}); err == nil {
		t.Error("taken without a rule")
	}
}

// Falco writes null for the fields of a rule that has none.
func TestNoOutputFields(t *testing.T) {
	const fields = `{"proc.name":"falcosidekick","proc.tty":1234,"evt.time":1507591916746609046}`
	for _, none := range []string{"null", "{}", " { } "} {
		e, err := Decode([]byte(strings.Replace(sample, fields, none, 1)))
		if err != nil || e.Falco.OutputFields == nil || len(e.Falco.OutputFields) != 0 || e.Falco.Rule != "Test rule" {
			t.Errorf("%s: %+v, %v", none, e.Falco, err)
		}
	}
	e, err := Decode([]byte(strings.Replace(strings.Replace(sample, `"output_fields"`, `"Output_Fields"`, 1), fields, "null", 1)))
	if err != nil || len(e.Falco.OutputFields) != 0 {
		t.Errorf("in another case: %+v, %v", e.Falco, err)
	}
	e, err = Decode([]byte(strings.Replace(sample, "This is", `This\ud800 is\udc00`, 1)))
	if err != nil || !strings.HasPrefix(e.Falco.Output, "This\ufffd is\ufffd") {
		t.Errorf("half a surrogate: %+v, %v", e.Falco, err)
	}
}

func TestDecodeFile(t *testing.T) {
	body, err := os.ReadFile("../testdata/falco/write-below-binary-dir.json")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := e.Body(); err != nil || !bytes.Equal(got, bytes.TrimSpace(body)) {
		t.Errorf("written as %s, %v", got, err)
	}
}

// TestPriorities goes through FalcoSidekick's whole scale.
func TestPriorities(t *testing.T) {
	for p := types.PriorityType(types.Debug); p <= types.Emergency; p++ {
		for _, name := range []string{p.String(), strings.ToLower(p.String()), strings.ToUpper(p.String())} {
			e, err := Decode([]byte(strings.Replace(sample, `"Debug"`, `"`+name+`"`, 1)))
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Falco.Priority.String(); got != p.String() {
				t.Errorf("%s decoded as %s", name, got)
			}
		}
	}
	e, err := Decode([]byte(strings.Replace(sample, `"Debug"`, `"info"`, 1)))
	if err != nil || e.Priority() != schema.PriorityInformational {
		t.Errorf("info: %s, %v", e.Priority(), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	change := func(from, to string) string {
		if !strings.Contains(sample, from) {
			t.Fatalf("the sample has no %s", from)
		}
		return strings.Replace(sample, from, to, 1)
	}
	const fields = `{"proc.name":"falcosidekick","proc.tty":1234,"evt.time":1507591916746609046}`
	tests := []struct {
		name, body, field, reason string
	}{
		{"priority missing", change(`"priority":"Debug",`, ``), "priority", "is missing"},
		{"priority empty", change(`"Debug"`, `""`), "priority", "is not known: use one of Debug"},
		{"priority misspelt", change(`"Debug"`, `"warn"`), "priority", "is not known"},
		{"priority a number", change(`"Debug"`, `4`), "priority", "must be a string"},
		{"priority in other case", change(`"priority":"Debug"`, `"Priority":"warn"`), "Priority", "is not known"},
		{"rule missing", change(`"rule":"Test rule",`, ``), "rule", "is missing"},
		{"rule empty", change(`"Test rule"`, `""`), "rule", "is empty"},
		{"rule a number", change(`"Test rule"`, `5`), "rule", "must be a string"},
		{"time missing", change(`"time":"2001-01-01T01:10:00Z",`, ``), "time", "is missing"},
		{"time null", change(`"2001-01-01T01:10:00Z"`, `null`), "time", "is empty"},
		{"time malformed", change(`2001-01-01T01:10:00Z`, `2001-01-01 01:10:00`), "time", "RFC 3339"},
		{"time a number", change(`"2001-01-01T01:10:00Z"`, `978311400`), "time", "RFC 3339"},
		{"output_fields missing", change(`"output_fields":`+fields+`,`, ``), "output_fields", "is missing"},
		{"output_fields a list", change(fields, `["a"]`), "output_fields", "must be an object"},
		{"tags a string", change(`["test","example"]`, `"test"`), "tags", "must be a list of strings"},
		{"tags of numbers", change(`["test","example"]`, `[1]`), "tags", "must be a list of strings"},
		{"output an object", change(`"This is a test"`, `{}`), "output", "must be a string"},
		{"duplicate key", change(`"rule"`, `"rule":"a","rule"`), "rule", "given twice"},
		{"duplicate key in other case", change(`"rule"`, `"Rule":"a","rule"`), "rule", "given twice, as Rule"},
		{"duplicate output field", change(`"proc.tty"`, `"proc.name":"x","proc.tty"`), "output_fields.proc.name", "given twice"},
		{"two events", sample + sample, "", "text after the event"},
		{"list", "[" + sample + "]", "", "must be an object"},
		{"empty", "", "", "empty"},
		{"invalid UTF-8", change("This", "\xff"), "", "not UTF-8"},
		{"half an escape", change("This", `\ud80`), "output", "escape"},
		{"nested too deep", change(`1234`, strings.Repeat("[", 40)), "output_fields.proc.tty" + strings.Repeat("[0]", 30), "deep"},
		{"string too long", change("This", strings.Repeat("x", schema.MaxStringBytes)), "output", "at most"},
		{"KubeArmor", `{"Type":"ContainerLog","Operation":"File","Source":"s"}`, "priority", "is missing"},
		{"KubeArmor with tags", `{"Type":"ContainerLog","Operation":"File","Tags":"a,b"}`, "Tags", "must be a list of strings"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Decode([]byte(tt.body))
			var fe *schema.FieldError
			if !errors.As(err, &fe) {
				t.Fatalf("decoded as %+v with error %v", e, err)
			}
			if fe.Field != tt.field || !strings.Contains(fe.Reason, tt.reason) {
				t.Errorf("error %+v, want field %q and reason %q", *fe, tt.field, tt.reason)
			}
		})
	}
}

// FuzzDecode compares with FalcoSidekick: what is taken here is taken there, and
// is the same after it was stored.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"Rule":"r","PRIORITY":"info","time":"0001-01-01T00:00:01Z","output_fields":{"a":{"b":[1e999,null]}},"x":1}`))
	f.Add([]byte(`{"rule":1}`))
	f.Add([]byte(`{"rule":"r\ud800","priority":"info","time":"2026-01-01T00:00:00Z","output_fields":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := Decode(body)
		if err != nil {
			var fe *schema.FieldError
			if !errors.As(err, &fe) || fe.Reason == "" {
				t.Fatalf("error %#v", err)
			}
			return
		}
		var p types.FalcoPayload
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		err = d.Decode(&p)
		if len(p.OutputFields) == 0 { // which FalcoSidekick alone refuses
			p.OutputFields = map[string]any{"x": 1}
		}
		if err != nil || !p.Check() {
			t.Fatalf("FalcoSidekick refuses what was taken: %v", err)
		}
		if kind, err := schema.Classify(body); err != nil || kind != schema.KindFalco {
			t.Fatalf("decoded, but classified as %q, %v", kind, err)
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > schema.MaxEnvelopeBytes {
			t.Fatalf("an envelope of %d bytes", len(text))
		}
		var back schema.Event
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if len(e.Falco.Tags) == 0 {
			e.Falco.Tags = nil // omitted when empty
		}
		if diff := cmp.Diff(e, back, cmpopts.IgnoreUnexported(schema.Event{})); diff != "" {
			t.Fatalf("changed in store:\n%s", diff)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode([]byte(sample)); err != nil {
			b.Fatal(err)
		}
	}
}
