package summary_test

import (
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func TestHeadline(t *testing.T) {
	const flags = "syscall=SYS_OPENAT fd=-100 flags="
	for _, tt := range []struct {
		operation, resource, data, result, want string
	}{
		{"File", "/a", flags + "O_RDONLY|O_CLOEXEC", "Passed", "cat read /a"},
		{"File", "/a", flags + "O_RDONLY", "Permission denied", "cat tried to read /a"},
		{"File", "/a", flags + "O_RDONLY|O_CREAT", "Passed", "cat wrote /a"},
		{"File", "/a", flags + "O_RDWR", "No such file or directory", "cat tried to write /a"},
		{"File", "/a", "lsm=FILE_OPEN", "Passed", "cat opened /a"},
		{"File", "/a", "syscall=SYS_OPEN flags=O_APPEND", "Passed", "cat wrote /a"},
		{"File", "/a", "syscall=SYS_CREAT", "Passed", "cat wrote /a"},
		{"File", "/a", "syscall=SYS_UNLINKAT flags=AT_REMOVEDIR", "Passed", "cat deleted /a"},
		{"File", "/a", "lsm=FILE_CHMOD", "Permission denied", "cat tried to change the mode of /a"},
		{"File", "/a", "", "Passed", "cat accessed /a"},
		{"Process", "/bin/ls -l", "syscall=SYS_EXECVE", "Passed", "bash ran /bin/cat"},
		{"Process", "/bin/ls -l", "lsm=SECURITY_BPRM_CHECK", "Permission denied", "bash tried to run /bin/cat"},
		{"Process", "/bin/ls", "syscall=SYS_PTRACE request=PTRACE_ATTACH", "Passed", "bash traced /bin/ls"},
		{"Network", "remoteip=1.2.3.4 port=443 protocol=TCP", "kprobe=tcp_connect domain=AF_INET", "Passed", "cat connected to 1.2.3.4:443"},
		{"Network", "remoteip=1.2.3.4 port=443 protocol=TCP", "kprobe=tcp_accept", "Passed", "cat accepted a connection from 1.2.3.4:443"},
		{"Network", "sa_family=AF_INET sin_port=53 sin_addr=10.0.0.10", "syscall=SYS_CONNECT fd=10", "Permission denied", "cat tried to connect to 10.0.0.10:53"},
		{"Network", "sa_family=AF_INET6 sin6_port=53 sin6_addr=::1", "syscall=SYS_BIND fd=10", "Passed", "cat bound to [::1]:53"},
		{"Network", "sa_family=AF_UNIX sun_path=/run/a b.sock", "syscall=SYS_CONNECT fd=10", "Passed", "cat connected to /run/a b.sock"},
		{"Network", "domain=AF_INET type=SOCK_STREAM protocol=TCP", "syscall=SYS_SOCKET", "Passed", "cat opened a socket: domain=AF_INET type=SOCK_STREAM protocol=TCP"},
		{"Network", "google.com", "lsm=SOCKET_SENDMSG domain=google.com.", "Permission denied", "cat tried to look up google.com"},
		{"Capabilities", "CAP_NET_RAW", "lsm=CAPABLE CAP_NET_RAW", "Permission denied", "cat tried to use CAP_NET_RAW"},
		{"Syscall", "", "syscall=SYS_SETUID userid=0", "Passed", "cat called syscall=SYS_SETUID userid=0"},
		{"Device", "usb", "", "", "cat accessed usb"},
	} {
		e := outputtest.Log()
		r := &e.Log.Record
		r.Operation, r.Resource, r.Data, r.Result = tt.operation, tt.resource, tt.data, tt.result
		r.ProcessName, r.ParentProcessName, r.Source = "/bin/cat", "/bin/bash", "/bin/cat -x"
		if tt.operation == "Process" {
			r.Source = "/bin/bash"
		}
		if got := summary.Of(&e).Headline; got != tt.want {
			t.Errorf("%s %s %s: got %q, want %q", tt.operation, tt.resource, tt.data, got, tt.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	for _, tt := range []struct {
		typ, action string
		want        summary.Outcome
	}{
		{schema.TypeMatchedPolicy, schema.ActionBlock, summary.Blocked},
		{schema.TypeMatchedPolicy, schema.ActionAudit, summary.Audited},
		{schema.TypeMatchedPolicy, schema.ActionAuditBlock, summary.WouldBlock},
		{schema.TypeMatchedHostPolicy, "", summary.Audited},
		{schema.TypeSystemEvent, schema.ActionBlock, summary.System},
	} {
		e := outputtest.BlockedExec()
		e.Alert.Type, e.Alert.Action = tt.typ, tt.action
		if got := summary.Of(&e).Outcome; got != tt.want {
			t.Errorf("%s %s: got %v, want %v", tt.typ, tt.action, got, tt.want)
		}
	}
}

// TestGlance: whatever the event, the facts are few, none is empty, and what
// the reader must see is among them.
func TestGlance(t *testing.T) {
	for _, c := range append(outputtest.Cases(), outputtest.Oversized()...) {
		s := summary.Of(&c.Event)
		if len(s.Facts) > 10 {
			t.Errorf("%s: %d facts", c.Name, len(s.Facts))
		}
		for _, f := range append(append([]summary.Fact{}, s.Facts...), s.More...) {
			if f.Name == "" || f.Value == "" {
				t.Errorf("%s: an empty fact: %+v", c.Name, f)
			}
		}
		if s.When == "" || (s.Headline == "" && c.Event.Kind != schema.KindFalco) {
			t.Errorf("%s: no time or headline: %+v", c.Name, s)
		}
	}
	e := outputtest.AuditedConnect()
	s := summary.Of(&e)
	var names []string
	for _, f := range s.Facts {
		names = append(names, f.Name)
	}
	want := "Program Parent Network Result Container Task Namespace Cluster Policy Severity"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestThrottle(t *testing.T) {
	e := outputtest.SystemEvent()
	e.Alert.Message, e.Alert.MaxAlertsPerSec, e.Alert.DroppingAlertsInterval = "", 10, 30
	want := "more than 10 alerts a second: alerts are dropped for 30 seconds"
	if got := summary.Of(&e).Headline; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Custom fields are shown; what Data and Resource say already is not.
func TestCustomFieldsAreShown(t *testing.T) {
	e := schema.Event{Kind: schema.KindAlert, Alert: &schema.Alert{Record: schema.Record{
		Operation: schema.OperationFile, Data: "syscall=SYS_OPENAT fd=3",
		EventData: map[string]string{"Syscall": "SYS_OPENAT", "Fd": "4", "environment": "prod", "arn": "arn:x"},
	}}}
	want := summary.Fact{Name: "Fields", Value: "Fd=4, arn=arn:x, environment=prod", Code: true}
	if s := summary.Of(&e); len(s.More) == 0 || s.More[0] != want {
		t.Errorf("%+v", s.More)
	}
	e.Alert.EventData = map[string]string{"Syscall": "SYS_OPENAT"}
	for _, f := range summary.Of(&e).More {
		if f.Name == "Fields" {
			t.Errorf("%+v", f)
		}
	}
}
