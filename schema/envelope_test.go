package schema

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestToFalcoText(t *testing.T) {
	at := time.Date(2025, 12, 16, 5, 37, 19, 0, time.UTC)
	alert := Event{ID: "1", Received: at, Kind: KindAlert, Alert: &Alert{
		Record: Record{
			Origin: Origin{PodName: "web-1", NamespaceName: "shop", HostName: "node"},
			PPID:   1, PID: 2, ProcessName: "/bin/cat", Operation: "File", Resource: "/etc/shadow", Result: ResultPermissionDenied,
		},
		PolicyName: "no-shadow", Severity: "9", ATags: []string{"T1"}, Message: "hands off", Action: ActionBlock,
	}}
	want := FalcoEvent{
		UUID: "1", Output: "Block: /bin/cat File /etc/shadow in web-1 (Permission denied): hands off",
		Priority: PriorityAlert, Rule: "no-shadow", Time: at, Source: "kubearmor", Tags: []string{"T1"}, Hostname: "node",
		OutputFields: map[string]any{
			"PPID": "1", "PID": "2", "UID": "0", "k8s.ns.name": "shop", "k8s.pod.name": "web-1", "Operation": "File",
			"Resource": "/etc/shadow", "ProcessName": "/bin/cat", "Result": ResultPermissionDenied, "Action": "Block", "Severity": "9",
		},
	}
	if diff := cmp.Diff(want, alert.ToFalco()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	bare := Event{Kind: KindLog, Log: &Log{Record{Resource: strings.Repeat("é", 1000)}}}
	got := bare.ToFalco()
	if got.Rule == "" || got.Time.IsZero() {
		t.Errorf("not acceptable: %+v", got)
	}
	if r := got.OutputFields["Resource"].(string); len(r) > 1000 || !strings.HasSuffix(r, "é…") {
		t.Errorf("resource of %d bytes ends in %q", len(r), r[len(r)-8:])
	}
	falco := FalcoEvent{Rule: "r"}
	if diff := cmp.Diff(falco, (&Event{Kind: KindFalco, Falco: &falco}).ToFalco()); diff != "" {
		t.Errorf("a Falco event changed:\n%s", diff)
	}
}

func TestEnvelope(t *testing.T) {
	received := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	events := []Event{
		{Kind: KindLog, Log: &Log{Record{OID: 1000}}}, // less than Decode asks for
		{Kind: KindFalco, Falco: &FalcoEvent{Rule: "r", Time: received, OutputFields: map[string]any{"n": json.Number("1507591916746609046"), "b": true}}},
		{Kind: KindAlert, Alert: &Alert{Record: Record{Source: strings.Repeat("<", MaxStringBytes)}}},
	}
	for _, body := range samples(t, "pascal") {
		events = append(events, decode(t, body))
	}
	for _, e := range events {
		e.ID, e.Received = "batch-1", received
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > MaxEnvelopeBytes {
			t.Errorf("an envelope of %d bytes", len(text))
		}
		var back Event
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, back, cmpopts.IgnoreUnexported(Event{})); diff != "" {
			t.Errorf("(-stored +read):\n%s", diff)
		}
	}
}

func TestEnvelopeRefuses(t *testing.T) {
	for name, e := range map[string]Event{
		"empty":        {},
		"no alert":     {Kind: KindAlert},
		"another kind": {Kind: KindAlert, Log: &Log{}},
		"unknown kind": {Kind: "metric"},
	} {
		if text, err := json.Marshal(e); err == nil {
			t.Errorf("%s: written as %s", name, text)
		}
	}
	for _, text := range []string{`{}`, `{"kind":"metric","event":{}}`, `{"kind":"log","event":[]}`, `{"kind":"falco","event":{"priority":"Urgent"}}`, `[]`} {
		var e Event
		if err := json.Unmarshal([]byte(text), &e); err == nil {
			t.Errorf("%s: read as %+v", text, e)
		}
	}
}

// TestClip makes the worst of an event and sees that it is still taken.
func TestClip(t *testing.T) {
	worst := strings.Repeat("\x01\xff<é", 1<<18)
	var a Alert
	for _, f := range append(recordFields(), alertFields()...) {
		if s, ok := f.in(&a).(*string); ok {
			*s = worst
		}
	}
	a.Owner, a.ExecEvent = &Owner{Ref: worst}, &ExecEvent{ExecID: worst}
	a.EventData = map[string]string{worst: "", "A": worst}
	for i := range 2 * MaxEntries {
		a.ATags = append(a.ATags, worst)
		a.EventData[strconv.Itoa(i)] = worst
	}
	e := Event{Kind: KindAlert, Alert: &a}
	e.Clip()
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	decode(t, body)

	log := Event{Kind: KindLog, Log: &Log{Record{Type: "t", Operation: "o", Source: "short", Resource: worst}}}
	log.Clip()
	if r := log.Log.Resource; len(r) > 16<<10 || !strings.HasSuffix(r, "…") || log.Log.Source != "short" {
		t.Errorf("source %q, resource of %d bytes", log.Log.Source, len(r))
	}
	(&Event{Kind: KindFalco, Falco: &FalcoEvent{}}).Clip()

	shared := Alert{Record: Record{Origin: Origin{Owner: &Owner{Name: worst}}}, ATags: []string{worst}}
	own := shared
	(&Event{Kind: KindAlert, Alert: &own}).Clip()
	if shared.Owner.Name != worst || shared.ATags[0] != worst || own.Owner.Name == worst {
		t.Error("changed what other events share")
	}
}
