package simulate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

const document = `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: %s, namespace: default}
spec:
  selector: {matchLabels: {app: web}}
  %s
  action: %s
`

func simulation(t testing.TB, posture, action string, specs ...string) *Simulation {
	t.Helper()
	var docs []policy.Document
	for i, spec := range specs {
		text := fmt.Sprintf(document, fmt.Sprint("p", i), spec, action)
		read, err := policy.ParseStrict("p.yaml", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, read...)
	}
	s, err := New(docs, rules.Posture{File: posture, Network: posture})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// event is a log of a container that the policies select.
func event(operation, program, source, resource, data string) string {
	text, err := json.Marshal(map[string]string{
		"Type": "ContainerLog", "NamespaceName": "default", "PodName": "web-1", "Labels": "app=web,x=y", "ContainerName": "c",
		"Operation": operation, "ProcessName": program, "ParentProcessName": "/usr/bin/bash", "Source": source, "Resource": resource,
		"Data": data, "Result": "Passed",
	})
	if err != nil {
		panic(err) // never: strings
	}
	return string(text) + "\n"
}

func TestDecisions(t *testing.T) {
	for _, c := range []struct {
		name, spec, event string
		want              Outcome
	}{
		{"a file", "file: {matchPaths: [{path: /etc/shadow}]}", event("File", "/usr/bin/cat", "/usr/bin/cat /etc/shadow", "/etc/shadow", "syscall=SYS_OPENAT fd=-100 flags=O_RDONLY"), Denied},
		{"another file", "file: {matchPaths: [{path: /etc/shadow}]}", event("File", "/usr/bin/cat", "/usr/bin/cat", "/etc/passwd", "syscall=SYS_OPENAT fd=-100 flags=O_RDONLY"), Passed},
		{"a read where writes are denied", "file: {matchPaths: [{path: /etc/passwd, readOnly: true}]}", event("File", "/usr/bin/cat", "x", "/etc/passwd", "syscall=SYS_OPENAT fd=-100 flags=O_RDONLY|O_CLOEXEC"), Passed},
		{"a write where writes are denied", "file: {matchPaths: [{path: /etc/passwd, readOnly: true}]}", event("File", "/usr/bin/cat", "x", "/etc/passwd", "syscall=SYS_OPENAT fd=-100 flags=O_RDWR|O_CREAT"), Denied},
		{"an unlink is a write", "file: {matchPaths: [{path: /etc/passwd, readOnly: true}]}", event("File", "/usr/bin/rm", "x", "/etc/passwd", "syscall=SYS_UNLINKAT flags="), Denied},
		{"an enforcer's mkdir is a write", "file: {matchDirectories: [{dir: /etc/, readOnly: true}]}", event("File", "/usr/bin/mkdir", "x", "/etc/new", "lsm=FILE_MKDIR"), Denied},
		{"a file from a source", "file: {matchPaths: [{path: /etc/shadow, fromSource: [{path: /usr/bin/cat}]}]}", event("File", "/usr/bin/tac", "x", "/etc/shadow", "syscall=SYS_OPENAT fd=-100 flags=O_RDONLY"), Passed},
		{"a program", "process: {matchPaths: [{path: /usr/bin/id}]}", event("Process", "/usr/bin/id", "/usr/bin/bash", "/usr/bin/id -u", "syscall=SYS_EXECVE"), Denied},
		{"a program from its parent", "process: {matchPaths: [{path: /usr/bin/id, fromSource: [{path: /usr/bin/bash}]}]}", event("Process", "/usr/bin/id", "/usr/bin/bash", "/usr/bin/id -u", "syscall=SYS_EXECVE"), Denied},
		{"a program from another parent", "process: {matchPaths: [{path: /usr/bin/id, fromSource: [{path: /usr/bin/zsh}]}]}", event("Process", "/usr/bin/id", "/usr/bin/bash", "/usr/bin/id -u", "syscall=SYS_EXECVE"), Passed},
		{"a socket", "network: {matchProtocols: [{protocol: udp}]}", event("Network", "/usr/bin/dig", "x", "domain=AF_INET type=SOCK_DGRAM protocol=UDP", "syscall=SYS_SOCKET"), Denied},
		{"a connection", "network: {matchProtocols: [{protocol: tcp}]}", event("Network", "/usr/bin/curl", "x", "remoteip=192.0.2.1 port=443 protocol=TCP", "kprobe=tcp_connect domain=AF_INET"), Denied},
		{"an enforcer's socket", "network: {matchProtocols: [{protocol: raw}]}", event("Network", "/usr/bin/ping", "x", "type=SOCK_RAW", "lsm=SOCKET_CREATE type=SOCK_RAW"), Denied},
	} {
		s := simulation(t, rules.PostureAudit, "Block", c.spec)
		if err := s.Read(strings.NewReader(c.event)); err != nil {
			t.Fatal(err)
		}
		r := s.Report()
		got := Passed
		if len(r.Groups) == 1 {
			got = r.Groups[0].Outcome
		}
		if r.Events != 1 || got != c.want {
			t.Errorf("%s: %+v, want %s", c.name, r, c.want)
		}
	}
}

// An allow list denies, or tells, what it does not name, as the posture says.
func TestPostures(t *testing.T) {
	for posture, want := range map[string][3]int{"block": {1, 0, 1}, "audit": {0, 1, 1}, "allow": {0, 0, 2}} {
		s := simulation(t, posture, "Allow", "file: {matchPaths: [{path: /etc/passwd}]}")
		for _, path := range []string{"/etc/passwd", "/etc/group"} {
			if err := s.Read(strings.NewReader(event("File", "/usr/bin/cat", "x", path, "syscall=SYS_OPEN flags=O_RDONLY"))); err != nil {
				t.Fatal(err)
			}
		}
		if r := s.Report(); [3]int{r.Denied, r.Alerted, r.Passed} != want {
			t.Errorf("%s: %+v, want %v", posture, r, want)
		}
	}
	if _, err := New(nil, rules.Posture{File: "maybe"}); err == nil {
		t.Error("a posture that does not exist is taken")
	}
}

// Events of other containers, of Falco, of no kind that rules are about, and what is
// no event are told apart; the most frequent comes first.
func TestReport(t *testing.T) {
	s := simulation(t, "audit", "Block", "file: {matchDirectories: [{dir: /etc/}]}", "file: {matchDirectories: [{dir: /srv/}]}")
	open := func(path string) string {
		return event("File", "/usr/bin/cat", "x", path, "syscall=SYS_OPEN flags=O_RDONLY")
	}
	input := open("/etc/a") + open("/etc/b") + "[" + open("/etc/b") + "," + open("/srv/\x1b") + "]" +
		strings.Replace(open("/etc/c"), "app=web", "app=db", 1) +
		event("Syscall", "/usr/bin/x", "x", "", "syscall=SYS_SETUID userid=0") +
		event("Network", "/usr/bin/x", "x", "sa_family=AF_UNIX sun_path=/x", "syscall=SYS_CONNECT fd=3") +
		`{"output":"o","priority":"Warning","rule":"r","time":"2026-01-01T00:00:00Z"}` + "\n" + `{"no":"event"}`
	if err := s.Read(strings.NewReader(input)); err != nil {
		t.Fatal(err)
	}
	r := s.Report()
	if r.Events != 5 || r.Denied != 4 || r.Passed != 1 || len(r.Skipped) != 4 || len(r.Unused) != 0 {
		t.Errorf("%+v", r)
	}
	if first := r.Groups[0]; first.Resource != "/etc/b" || first.Events != 2 || first.Policy != "p0" {
		t.Errorf("%+v", first)
	}
	text := r.Text(2)
	for _, want := range []string{"5 events: 4 would have been denied, 0 alerted, 1 passed.", "… and 1 lines more", "belongs to a Falco event", "neither the protocol"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if all := r.Text(0); strings.Contains(all, "\x1b") || !strings.Contains(all, `/srv/\x1b`) {
		t.Errorf("%q", all)
	}
}

func TestUnusedAndUnsupported(t *testing.T) {
	s := simulation(t, "audit", "Block", "file: {matchPaths: [{path: /x}]}\n  apparmor: |\n    x")
	if err := s.Read(strings.NewReader(strings.Replace(event("File", "/a", "x", "/x", "flags=O_RDONLY"), "app=web", "app=db", 1))); err != nil {
		t.Fatal(err)
	}
	if r := s.Report(); !slices.Equal(r.Unused, []string{"p0"}) || len(r.NotDone) != 1 {
		t.Errorf("%+v", r)
	}
	err := s.Read(strings.NewReader(event("File", "/a", "x", "/x", "") + "{"))
	if err == nil || !strings.Contains(err.Error(), "value 2") {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(event("File", "/a", "x", "/x", "flags=O_RDONLY"))
	f.Add("[" + event("Process", "/a", "x", "/a b", "lsm=X") + "]")
	f.Fuzz(func(t *testing.T, input string) {
		s := simulation(t, "block", "Allow", "file: {matchPaths: [{path: /x}]}\n  process: {matchPaths: [{path: /a}]}\n  network: {matchProtocols: [{protocol: tcp}]}")
		_ = s.Read(strings.NewReader(input))
		r := s.Report()
		if r.Denied+r.Alerted+r.Passed != r.Events {
			t.Errorf("%+v", r)
		}
		_ = r.Text(5)
	})
}
