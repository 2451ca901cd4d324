package ocsf_test

import (
	"encoding/json"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/internal/ocsf"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func TestGolden(t *testing.T) {
	valid := outputtest.JSONSchema(t, "detection_finding.schema.json")
	shell := outputtest.Falco()
	shell.Falco.Priority, shell.Falco.Rule, shell.Falco.Tags = schema.PriorityEmergency, "Terminal shell in container", []string{"container", "T1059.004", "mitre_execution"}
	shell.Falco.OutputFields = map[string]any{
		"proc.name": "sh", "proc.exepath": "/bin/sh", "proc.pid": json.Number("77"), "proc.cmdline": "sh -i", "proc.pname": "nginx", "proc.ppid": json.Number("1"),
		"user.name": "www-data", "user.uid": json.Number("33"), "container.id": "4771ac3e5f0e", "container.name": "nginx",
		"container.image.repository": "registry.example/web", "k8s.ns.name": "shop", "k8s.pod.name": "web-1",
	}
	for _, c := range append(outputtest.Cases(), outputtest.Case{Name: "falco-shell", Event: shell}) {
		t.Run(c.Name, func(t *testing.T) {
			body, err := ocsf.Encode(&c.Event)
			if err != nil {
				t.Fatal(err)
			}
			valid(t, body)
			outputtest.GoldenJSON(t, c.Name+".json", body)
		})
	}
	for _, c := range outputtest.Oversized() {
		t.Run(c.Name, func(t *testing.T) {
			body, err := ocsf.Encode(&c.Event)
			if err != nil {
				t.Fatal(err)
			}
			valid(t, body)
		})
	}
}

// TestOutcome: what was denied by a policy is told from what failed and what passed.
func TestOutcome(t *testing.T) {
	for name, tt := range map[string]struct {
		event       func() schema.Event
		result      string
		action      int
		disposition int
		severity    int
		alert       bool
	}{
		"blocked":           {outputtest.BlockedExec, schema.ResultPermissionDenied, 2, 2, 5, true},
		"block that passed": {outputtest.BlockedExec, schema.ResultPassed, 1, 15, 5, true},
		"audited":           {outputtest.AuditedConnect, schema.ResultPassed, 1, 15, 2, true},
		"audited, failed":   {outputtest.AuditedConnect, "No route to host", 0, 15, 2, true},
		"log":               {outputtest.Log, schema.ResultPassed, 1, 17, 1, false},
		"Falco":             {outputtest.Falco, "", 1, 15, 1, true},
	} {
		e := tt.event()
		if r := e.Record(); r != nil {
			r.Result = tt.result
		}
		body, err := ocsf.Encode(&e)
		var got struct {
			Action      int  `json:"action_id"`
			Disposition int  `json:"disposition_id"`
			Severity    int  `json:"severity_id"`
			Alert       bool `json:"is_alert"`
		}
		if err != nil || json.Unmarshal(body, &got) != nil {
			t.Fatal(err)
		}
		if got.Action != tt.action || got.Disposition != tt.disposition || got.Severity != tt.severity || got.Alert != tt.alert {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
