package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/falcosecurity/falcosidekick/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// samples reads testdata/<dir>: one event a file, named after its kind.
func samples(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples in %s: %v", dir, err)
	}
	all := make(map[string][]byte)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = bytes.TrimSuffix(text, []byte("\n"))
	}
	return all
}

func decode(t testing.TB, body []byte) Event {
	t.Helper()
	e, err := Decode(body)
	if err != nil {
		t.Fatalf("decoding %s: %v", body, err)
	}
	return e
}

// TestSamplesRoundTrip holds the encoder to KubeArmor's own bytes.
func TestSamplesRoundTrip(t *testing.T) {
	for name, body := range samples(t, "pascal") {
		t.Run("pascal/"+name, func(t *testing.T) {
			e := decode(t, body)
			checkKind(t, name, e, body)
			got, err := e.Body()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(body), string(got)); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
			var content any = e.Alert
			if e.Alert == nil {
				content = e.Log
			}
			again, err := json.Marshal(content)
			if err != nil || !bytes.Equal(again, body) {
				t.Errorf("json.Marshal differs: %s, %v", again, err)
			}
		})
	}
	for name, body := range samples(t, "camel") {
		t.Run("camel/"+name, func(t *testing.T) {
			e := decode(t, body)
			checkKind(t, name, e, body)
			camel := e.Alert.CamelJSON
			if e.Log != nil {
				camel = e.Log.CamelJSON
			}
			got, err := camel()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(body), string(got)); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}

func checkKind(t *testing.T, name string, e Event, body []byte) {
	t.Helper()
	want := KindAlert
	if strings.HasPrefix(name, "log-") {
		want = KindLog
	}
	if e.Kind != want || (e.Alert != nil) != (want == KindAlert) || (e.Log != nil) != (want == KindLog) {
		t.Errorf("decoded as %s, alert %v, log %v", e.Kind, e.Alert, e.Log)
	}
	if kind, err := Classify(body); kind != want || err != nil {
		t.Errorf("classified as %q, %v", kind, err)
	}
}

// TestSpellingsAgree decodes the same event from both spellings.
func TestSpellingsAgree(t *testing.T) {
	for _, dir := range []string{"pascal", "camel"} {
		for name, body := range samples(t, dir) {
			e := decode(t, body)
			if e.Log != nil {
				e.Log.OID = 0
			} else {
				e.Alert.OID = 0 // in one spelling only
				if len(e.Alert.ATags) == 0 {
					e.Alert.ATags = nil // null, [] and left out mean the same
				}
			}
			if r := e.Record(); r.ExecEvent == nil {
				r.ExecEvent = new(ExecEvent) // the camelCase spelling always has one
			}
			alert := e.Alert
			if alert == nil {
				alert = &Alert{Record: e.Log.Record}
			}
			camel, err := alert.CamelJSON()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, decode(t, camel), cmpopts.IgnoreUnexported(Event{})); diff != "" {
				t.Errorf("%s/%s differs by way of camelCase:\n%s", dir, name, diff)
			}
		}
	}
}

// TestFieldsComplete holds the decoder's table to the structs that the encoder
// writes, and both to the types of the package.
func TestFieldsComplete(t *testing.T) {
	written := map[string]bool{}
	for _, form := range []any{alertJSON{}, logJSON{}, camelJSON{}} {
		for f := range reflect.TypeOf(form).Fields() {
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			written[key] = true
			if fields[key].in == nil {
				t.Errorf("%T.%s: key %q is written and never read", form, f.Name, key)
			} else if fields[key].name != f.Name {
				t.Errorf("%T.%s: key %q is read into %s", form, f.Name, key, fields[key].name)
			}
		}
	}
	written["OID"] = true // read in this spelling for symmetry
	for key := range fields {
		if !written[key] {
			t.Errorf("key %q is read and never written", key)
		}
	}

	var a Alert
	seen := map[any]bool{}
	for _, f := range append(recordFields(), alertFields()...) {
		p := f.in(&a)
		if seen[p] {
			t.Errorf("%s shares its place with another field", f.name)
		}
		seen[p] = true
	}
	if want := leaves(reflect.TypeFor[Alert]()); len(seen) != want {
		t.Errorf("the table has %d fields, Alert has %d", len(seen), want)
	}
}

// leaves counts the fields of a struct, those of embedded structs included.
func leaves(t reflect.Type) (n int) {
	for f := range t.Fields() {
		if f.Anonymous {
			n += leaves(f.Type)
		} else {
			n++
		}
	}
	return n
}

// TestEventDataOfSamples derives what KubeArmor put into its own events.
func TestEventDataOfSamples(t *testing.T) {
	for _, dir := range []string{"pascal", "camel"} {
		for name, body := range samples(t, dir) {
			e := decode(t, body)
			if name == "alert-every-field" {
				continue // made up
			}
			r := e.Record()
			if diff := cmp.Diff(r.EventData, EventData(r.Operation, r.Resource, r.Data)); diff != "" {
				t.Errorf("%s/%s (-want +got):\n%s", dir, name, diff)
			}
		}
	}
}

// TestToFalco hands converted events to FalcoSidekick's own types.
func TestToFalco(t *testing.T) {
	for _, dir := range []string{"pascal", "camel"} {
		for name, body := range samples(t, dir) {
			t.Run(dir+"/"+name, func(t *testing.T) {
				e := decode(t, body)
				e.ID = "id-1"
				f := e.ToFalco()
				text, err := json.Marshal(f)
				if err != nil {
					t.Fatal(err)
				}
				var payload types.FalcoPayload
				if err := json.Unmarshal(text, &payload); err != nil {
					t.Fatalf("FalcoSidekick cannot read %s: %v", text, err)
				}
				if !payload.Check() {
					t.Fatalf("FalcoSidekick refuses %s", text)
				}
				if payload.Priority.String() != e.Priority().String() {
					t.Errorf("priority %s, want %s", payload.Priority, e.Priority())
				}
				if len(payload.OutputFields) > 19 {
					t.Errorf("%d output fields", len(payload.OutputFields))
				}
				for key, value := range payload.OutputFields {
					if _, ok := value.(string); !ok {
						t.Errorf("output field %s is %T", key, value)
					}
				}
				if e.Alert != nil && e.Alert.PolicyName != "" && payload.Rule != e.Alert.PolicyName {
					t.Errorf("rule %q", payload.Rule)
				}
				if kind, err := Classify(text); kind != KindFalco || err != nil {
					t.Errorf("classified as %q, %v", kind, err)
				}
			})
		}
	}
}
