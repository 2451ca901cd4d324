package filter

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

func alert() *schema.Event {
	return &schema.Event{ID: "id-1", Kind: schema.KindAlert, Alert: &schema.Alert{
		Record: schema.Record{
			Origin: schema.Origin{
				ClusterName: "prod-eu", HostName: "node-1", NamespaceName: "prod-shop", PodName: "web-1", Labels: "app=web,tier=front",
				ContainerName: "web", ContainerImage: "nginx:stable", ContainerID: "4771ac", NodeID: "n", Owner: &schema.Owner{Name: "web"},
			},
			UpdatedTime: "2026-11-23T18:13:11.933280Z", Type: schema.TypeMatchedPolicy, Operation: schema.OperationFile,
			ProcessName: "/usr/bin/cat", ParentProcessName: "/usr/bin/dash", Source: "/usr/bin/cat /etc/shadow", Resource: "/etc/shadow",
			EventData: map[string]string{"Flags": "O_RDONLY"}, Result: schema.ResultPermissionDenied, UID: 1000, PID: 17, Cwd: "/srv/", TTY: "pts0", UserName: "bob",
		},
		PolicyName: "protect-credentials", Severity: "9", ATags: []string{"MITRE", "NIST"}, Message: "no", Enforcer: "SideArmor", Action: schema.ActionBlock,
	}}
}

func log() *schema.Event {
	return &schema.Event{Kind: schema.KindLog, Log: &schema.Log{Record: schema.Record{Operation: schema.OperationNetwork, Result: schema.ResultPassed}}}
}

func falco() *schema.Event {
	return &schema.Event{Kind: schema.KindFalco, Falco: &schema.FalcoEvent{
		Rule: "Terminal shell", Output: "a shell", Priority: schema.PriorityWarning, Source: "syscall", Hostname: "h", Tags: []string{"shell"},
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		OutputFields: map[string]any{
			"proc.name": "bash", "k8s.ns.name": "shop", "k8s.pod.name": "web-1", "fd.num": json.Number("7"), "big": json.Number("1e3"),
			"nested": map[string]any{"n": json.Number("1")}, "list": []any{"a", json.Number("2")}, "ok": true, "none": nil,
		},
	}}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		expression         string
		alert, log, falcos bool
	}{
		{`true`, true, true, true},
		{`event.action == "Block" && event.namespace.startsWith("prod")`, true, false, false},
		{`event.kind == "alert"`, true, false, false},
		{`event.kind in ["log", "falco"]`, false, true, true},
		{`event.severity >= 8`, true, false, false},
		{`event.severity == 0`, false, true, true},
		{`event.priority >= warning`, true, false, true},
		{`event.priority == informational`, false, true, false},
		{`event.blocked`, true, false, false},
		{`event.policy == "protect-credentials" && event.operation == "File" && event.type == "MatchedPolicy"`, true, false, false},
		{`event.cluster == "prod-eu" && event.host == "node-1" && event.node == "n" && event.pod == "web-1"`, true, false, false},
		{`event.container == "web" && event.container_id == "4771ac" && event.image == "nginx:stable" && event.owner == "web"`, true, false, false},
		{`event.process.endsWith("/cat") && event.parent == "/usr/bin/dash" && event.source.contains("shadow") && event.resource == "/etc/shadow"`, true, false, false},
		{`event.uid == 1000 && event.pid == 17 && event.user == "bob" && event.cwd == "/srv/" && event.tty == "pts0"`, true, false, false},
		{`event.result == "Permission denied" && event.message == "no" && event.enforcer == "SideArmor" && event.id == "id-1"`, true, false, false},
		{`"MITRE" in event.tags`, true, false, false},
		{`event.tags.exists(t, t.startsWith("sh"))`, false, false, true},
		{`event.labels["app"] == "web" || event.kind != "alert"`, true, true, true},
		{`event.labels[?"tier"].orValue("") == "front"`, true, false, false},
		{`"Flags" in event.data && event.data["Flags"] == "O_RDONLY"`, true, false, false},
		{`event.data.Flags == "O_RDONLY" || event.kind != "alert"`, true, true, true},
		{`event.rule == "Terminal shell" && event.output == "a shell" && event.source == "syscall"`, false, false, true},
		{`event.namespace == "shop" && event.pod == "web-1" && event.host == "h"`, false, false, true},
		{`event.fields[?"proc.name"].orValue("") == "bash"`, false, false, true},
		{`event.fields[?"fd.num"].orValue(0) == 7`, false, false, true},
		{`event.fields[?"big"].orValue(0) == 1000.0`, false, false, true},
		{`"nested" in event.fields && event.fields.nested.n == 1 && event.fields.list[1] == 2 && event.fields.ok && event.fields.none == null`, false, false, true},
		{`event.time < timestamp("2026-06-01T00:00:00Z") && has(event.rule)`, false, false, true},
		{`has(event.action)`, true, false, false},
		{`has(event.tags) && has(event.time)`, true, false, true},
		{`has(event.labels) && has(event.severity) && has(event.blocked)`, true, false, false},
		{`event.resource.matches("^/etc/(shadow|passwd)$")`, true, false, false},
		{"event.action == \"Block\" &&\n  !(event.pod in [\"a\",\n \"b\"])", true, false, false},
	} {
		f, err := Compile(c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.expression, err)
			continue
		}
		for _, one := range []struct {
			event *schema.Event
			want  bool
		}{{alert(), c.alert}, {log(), c.log}, {falco(), c.falcos}} {
			if got, err := f.Match(one.event); err != nil || got != one.want {
				t.Errorf("%s: %s gives %v, %v", c.expression, one.event.Kind, got, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for expression, want := range map[string]string{
		``:                                `line 1, column 1: Syntax error`,
		`event.actoin == "Block"`:         `line 1, column 6: undefined field 'actoin', at ".actoin == \"Block\""`,
		`event.action == Block`:           `line 1, column 17: undeclared reference to 'Block'`,
		`event.severity == "9"`:           `no matching overload for '_==_' applied to '(int, string)'`,
		"event.action == \"a\" &&\n  x":   `line 2, column 3: undeclared reference to 'x'`,
		`evnt.action == "Block"`:          `undeclared reference to 'evnt'`,
		`event.action`:                    `must yield a boolean, not string`,
		`event.fields["x"]`:               `must yield a boolean, not dyn`,
		`event.resource.matches("(")`:     `missing closing )`,
		`event.action == "Block`:          `Syntax error`,
		`sidearmor.Event{} == event`:      ``,
		strings.Repeat("(", 5000) + "1":   ``,
		strings.Repeat("true||", 5000):    `more than 16384 bytes`,
		`"é" == "é" && event.nope == "é"`: `line 1, column 20: undefined field 'nope'`,
	} {
		f, err := Compile(expression)
		if want == "" && err == nil {
			_, err = f.Match(alert())
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: error %v", expression, err)
		}
	}
}

func TestErrorsAtRunTime(t *testing.T) {
	long := alert()
	long.Alert.Resource = strings.Repeat("a", schema.MaxStringBytes)
	for expression, want := range map[string]string{
		`event.data["Nope"] == "x"`: "no such key: Nope",
		`event.fields["a"] == 1`:    "no such key: a",
		`["b+$", "c+$", "d+$", "e+$"].exists(p, event.resource.matches(p + "f{1}g{1}h{1}i{1}j{1}k{1}l{1}m{1}n{1}o{1}p{1}"))`: "cost limit exceeded",
		`int(event.process) == 1`:       "type conversion error",
		`[event].exists(e, e == event)`: "unsupported",
	} {
		f, err := Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got, err := f.Match(long); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", expression, got, err)
		}
	}
}

func TestEmptyEvent(t *testing.T) {
	for name, kind := range Fields() {
		f, err := Compile(`has(event.` + name + `) || event.` + name + ` == event.` + name)
		if err != nil {
			t.Errorf("%s (%s): %v", name, kind, err)
			continue
		}
		for _, e := range []*schema.Event{{}, alert(), log(), falco()} {
			if got, err := f.Match(e); !got || err != nil {
				t.Errorf("%s (%s): %v, %v", name, kind, got, err)
			}
		}
	}
}

func TestConcurrently(t *testing.T) {
	f, err := Compile(`event.labels["app"] == "web" && "MITRE" in event.tags`)
	if err != nil {
		t.Fatal(err)
	}
	e := alert()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if got, err := f.Match(e); !got || err != nil {
					t.Errorf("%v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzCompile(f *testing.F) {
	f.Add(`event.action == "Block" && event.data["x"] == "y"`)
	f.Add("event.\n\nx")
	f.Add(`"\u00e9`)
	e := alert()
	f.Fuzz(func(_ *testing.T, expression string) {
		if c, err := Compile(expression); err == nil {
			_, _ = c.Match(e)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for name, expression := range map[string]string{
		"fields": `event.action == "Block" && event.namespace.startsWith("prod")`,
		"regexp": `event.resource.matches("^/etc/(shadow|passwd)$")`,
		"labels": `event.labels[?"app"].orValue("") == "web"`,
	} {
		f, err := Compile(expression)
		if err != nil {
			b.Fatal(err)
		}
		e := alert()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := f.Match(e); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
