package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// collector is a sidekick that keeps what it is sent.
type collector struct {
	*httptest.Server
	mu     sync.Mutex
	events []schema.Event
	errs   []error
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		lines := bufio.NewScanner(r.Body)
		lines.Buffer(nil, 2*schema.MaxEventBytes)
		for lines.Scan() {
			e, err := schema.Decode(lines.Bytes())
			if err != nil {
				c.errs = append(c.errs, fmt.Errorf("%w: %s", err, lines.Bytes()))
				continue
			}
			c.events = append(c.events, e)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// records gives what was reported, alerts and logs, and forgets it.
func (c *collector) records(t *testing.T) []schema.Alert {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, err := range c.errs {
		t.Error(err)
	}
	var out []schema.Alert
	for _, e := range c.events {
		if e.Kind == schema.KindAlert {
			out = append(out, *e.Alert)
		} else {
			out = append(out, schema.Alert{Record: e.Log.Record})
		}
	}
	c.events = nil
	return out
}

// find returns the first event of which all the given parts are in its text.
func find(events []schema.Alert, operation, resource, data string) *schema.Alert {
	for i, e := range events {
		if e.Operation == operation && strings.Contains(e.Resource, resource) && strings.Contains(e.Data, data) {
			return &events[i]
		}
	}
	return nil
}

func traceWith(t *testing.T, c *collector, args []string, argv ...string) outcome {
	t.Helper()
	cmd := tracer(t, append(append([]string{"run"}, args...), append([]string{"--"}, argv...)...)...)
	cmd.Env = append(cmd.Env, "SIDEKICK_URL="+c.URL, "POD_NAME=web-1", "NAMESPACE=prod", "CONTAINER_NAME=web", "CLUSTER_NAME=east")
	return outcomeOf(t, cmd)
}

// victim makes calls that a shell cannot, by number where libc has no function.
const victim = `
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
dir, port = sys.argv[1], int(sys.argv[2])
openat2 = 437
how = struct.pack("QQQ", os.O_RDWR | os.O_CREAT, 0o600, 0)
libc.syscall(openat2, -100, (dir + "/by-openat2").encode(), how, 24)
if hasattr(libc, "creat"):
    libc.creat((dir + "/by-creat").encode(), 0o600)
fd = os.open(dir, os.O_RDONLY)
os.open("in-dir", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
os.chdir(dir)
os.open("relative", os.O_RDONLY | os.O_CREAT)
os.symlink("relative", "link")
os.open("./link", os.O_RDONLY)
os.open("/proc/self/cwd/../" + os.path.basename(dir) + "/relative", os.O_RDONLY)
try: os.open("missing", os.O_RDONLY)
except OSError: pass
s = socket.create_connection(("127.0.0.1", port))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("127.0.0.1", 53))
try: socket.create_connection(("::1", port))
except OSError: pass
try: socket.socket(socket.AF_UNIX).connect(dir + "/sock")
except OSError: pass
try: socket.socket(socket.AF_UNIX).connect("\0abstract")
except OSError: pass
pid = os.fork()
if pid == 0:
    t = os.open("/bin/true", os.O_RDONLY)
    os.set_inheritable(t, True)
    os.execve(t, ["true-by-fd", "a b"], {})
os.waitpid(pid, 0)
`

func TestTelemetryOfEachCall(t *testing.T) {
	if _, err := os.Stat(python); err != nil {
		skip(t, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	dir := t.TempDir()
	c := newCollector(t)
	if got := traceWith(t, c, []string{"--visibility", "process,file,network"}, python, "-c", victim, dir, port); got.code != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	events := c.records(t)
	self, err := filepath.EvalSymlinks(python)
	if err != nil {
		t.Fatal(err)
	}
	trueFile, err := filepath.EvalSymlinks("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ operation, resource, data string }{
		{"Process", python, "syscall=SYS_EXECVE"},
		{"Process", trueFile + " a b", "syscall=SYS_EXECVE"},
		{"File", dir + "/by-openat2", "syscall=SYS_OPENAT2 fd=-100 flags=O_RDWR|O_CREAT"},
		{"File", dir + "/by-creat", "flags=O_WRONLY|O_CREAT|O_TRUNC"},
		{"File", dir + "/in-dir", "flags=O_WRONLY|O_CREAT"},
		{"File", dir + "/relative", "flags=O_RDONLY|O_CREAT"},
		{"Network", "remoteip=127.0.0.1 port=" + port + " protocol=TCP", "kprobe=tcp_connect domain=AF_INET"},
		{"Network", "remoteip=::1 port=" + port + " protocol=TCP", "kprobe=tcp_connect domain=AF_INET6"},
		{"Network", "sa_family=AF_INET sin_port=53 sin_addr=127.0.0.1", "syscall=SYS_CONNECT fd="},
		{"Network", "sa_family=AF_UNIX sun_path=" + dir + "/sock", "syscall=SYS_CONNECT fd="},
		{"Network", "sa_family=AF_UNIX sun_path=@abstract", "syscall=SYS_CONNECT fd="},
	} {
		e := find(events, want.operation, want.resource, want.data)
		if e == nil {
			t.Errorf("no event %v", want)
			continue
		}
		if want.operation != "Process" && (e.ProcessName != self || !strings.HasPrefix(e.Source, self+" -c ") || e.Result != "Passed") {
			t.Errorf("%v: process %q, source %.40q, result %q", want, e.ProcessName, e.Source, e.Result)
		}
		checkOrigin(t, e)
	}
	if n := count(events, "File", dir+"/relative"); n != 3 {
		t.Errorf("%d opens of the file behind a relative path, a link and /proc/self, want 3", n)
	}
	if e := find(events, "File", "/missing", ""); e != nil {
		t.Errorf("a file that is not there was reported: %+v", e)
	}
}

func count(events []schema.Alert, operation, resource string) (n int) {
	for _, e := range events {
		if e.Operation == operation && e.Resource == resource {
			n++
		}
	}
	return n
}

func checkOrigin(t *testing.T, e *schema.Alert) {
	t.Helper()
	if e.Type != schema.TypeContainerLog || e.PodName != "web-1" || e.NamespaceName != "prod" || e.ContainerName != "web" || e.ClusterName != "east" {
		t.Errorf("origin: %+v", e)
	}
	if e.PID == 0 || e.PPID == 0 || e.HostPID != e.PID || e.Timestamp == 0 || e.UID != int32(os.Getuid()) || !strings.HasSuffix(e.Cwd, "/") || e.ExecEvent.ExecutableName == "" {
		t.Errorf("facts: %+v", e)
	}
}

func TestAlertsTellThePolicy(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/usr/bin/env cat\nhello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	denied := filepath.Join(dir, "denied")
	if err := os.WriteFile(denied, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	policies := policyDir(t, fmt.Sprintf(`
apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: programs}
spec:
  tags: [A, B]
  message: not here
  process:
    severity: 7
    matchPaths: [{path: /usr/bin/head}, {path: /usr/bin/env, fromSource: [{path: /usr/bin/dash}]}]
  action: Block
---
apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: files}
spec:
  severity: 2
  file: {matchPaths: [{path: %s}]}
  action: Audit
`, denied))
	c := newCollector(t)
	got := traceWith(t, c, []string{"--policies", policies, "--visibility", "none"}, "/bin/dash", "-c", "/usr/bin/head -c 1 /dev/null; "+script+"; cat "+denied+"; exec true")
	if got.code != 0 || strings.Count(got.stderr, "Permission denied") != 2 {
		t.Fatalf("%+v", got)
	}
	var lines []string
	for _, e := range c.records(t) {
		lines = append(lines, strings.Join([]string{e.PolicyName, e.Severity, e.Tags, e.Message, e.Operation, e.Resource, e.Action, e.Result, e.Enforcer, e.ParentProcessName}, " | "))
	}
	want := []string{
		"programs | 7 | A,B | not here | Process | /usr/bin/head -c 1 /dev/null | Block | Permission denied | SideArmor | /usr/bin/dash",
		"programs | 7 | A,B | not here | Process | /usr/bin/env | Block | Permission denied | SideArmor | /usr/bin/dash",
		"files | 2 |  |  | File | " + denied + " | Audit | Passed | SideArmor | /usr/bin/dash",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// A policy that selects by what only the ECS metadata tell is in force before
// the workload runs.
func TestPolicyThatSelectsByECSMetadata(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("s3cret"), 0o644); err != nil {
		t.Fatal(err)
	}
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		body := `{"DockerId":"0123456789abcdef","Name":"billing","DockerName":"billing","Image":"shop/billing:1","Labels":{}}`
		if strings.HasSuffix(r.URL.Path, "/task") {
			body = `{"Cluster":"arn:aws:ecs:eu-west-1:123456789012:cluster/main","TaskARN":"arn:aws:ecs:eu-west-1:123456789012:task/main/4f1c0a6e","Family":"billing","Revision":"7","Containers":[` + body + `]}`
		}
		_, _ = io.WriteString(w, body)
	}))
	defer metadata.Close()
	for container, want := range map[string]int{"billing": 1, "other": 0} {
		policies := policyDir(t, fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: ecs}\nspec: {selector: {matchLabels: {kubearmor.io/container.name: %s}}, file: {matchPaths: [{path: %s}]}, action: Block}\n", container, secret))
		cmd := tracer(t, "run", "--policies", policies, "--", "cat", secret)
		cmd.Env = append(cmd.Env, "ECS_CONTAINER_METADATA_URI_V4="+metadata.URL+"/v4/x", "CONTAINER_NAME=", "POD_NAME=")
		if got := outcomeOf(t, cmd); got.code != want {
			t.Errorf("container %s: %+v, want exit %d", container, got, want)
		}
	}
}

// A tracer whose workload may not start ends at once, but not before it has said why.
func TestDeniedEntryPointIsReported(t *testing.T) {
	c := newCollector(t)
	policies := policyDir(t, "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: entry}\nspec: {process: {matchPaths: [{path: /usr/bin/sort}]}, action: Block}\n")
	got := traceWith(t, c, []string{"--policies", policies}, "/usr/bin/sort", "/dev/null")
	if got.code != exitCannotExecute || got.stdout != "" || !strings.Contains(got.stderr, "permission denied") {
		t.Errorf("%+v", got)
	}
	events := c.records(t)
	if e := find(events, "Process", "/usr/bin/sort /dev/null", "SYS_EXECVE"); len(events) != 1 || e == nil || e.PolicyName != "entry" || e.Action != "Block" {
		t.Errorf("%+v, want one alert", events)
	}
}

// While it is not known whether a policy is for this container, the workload does
// not start, unless it is to.
func TestPolicyThatCannotBeSelected(t *testing.T) {
	policies := policyDir(t, "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: ecs}\nspec: {selector: {matchLabels: {app: web}}, process: {matchPaths: [{path: /none}]}, action: Block}\n")
	for _, c := range []struct {
		args, env []string
		code      int
		stdout    string
		says      []string
	}{
		{[]string{"--policy-timeout=200ms"}, nil, 125, "", []string{"after 200ms", "policy ecs", "policies.yaml:1", "labels from the ECS metadata", "--policy-timeout", "--on-missing-policy=run"}},
		{[]string{"--policy-timeout=200ms", "--log-level=warn"}, []string{"TRACER_ON_MISSING_POLICY=run"}, 0, "ran\n", []string{"policies.yaml:1", "without policies"}},
		{[]string{"--policy-timeout=1m", "--log-level=warn"}, []string{"POD_LABELS=app=db"}, 0, "ran\n", []string{"does not select", "policies.yaml:1", `app=\"web\"`, `\"db\" (from POD_LABELS)`}},
	} {
		cmd := tracer(t, append(append([]string{"run", "--policies", policies}, c.args...), "--", "echo", "ran")...)
		cmd.Env = append(append(cmd.Env, "ECS_CONTAINER_METADATA_URI_V4=http://127.0.0.1:9/v4/x"), c.env...)
		began := time.Now()
		got := outcomeOf(t, cmd)
		if got.code != c.code || got.stdout != c.stdout || time.Since(began) > 30*time.Second {
			t.Errorf("%v %v: %+v", c.args, c.env, got)
		}
		for _, want := range c.says {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%v %v: standard error does not say %q: %s", c.args, c.env, want, got.stderr)
			}
		}
	}
}

// By default only opens that write are logged, and with file every one.
func TestVisibilityOfOpens(t *testing.T) {
	dir := t.TempDir()
	for visibility, want := range map[string]int{"": 1, "file:write": 1, "file": 2, "file:read": 1, "process": 0} {
		c := newCollector(t)
		var args []string
		if visibility != "" {
			args = []string{"--visibility", visibility}
		}
		file := filepath.Join(dir, "f"+strings.ReplaceAll(visibility, ":", "-"))
		if got := traceWith(t, c, args, "/bin/sh", "-c", "echo > "+file+"; cat "+file+" >/dev/null"); got.code != 0 {
			t.Fatalf("%+v", got)
		}
		if n := count(c.records(t), "File", file); n != want {
			t.Errorf("visibility %q: %d opens were logged, want %d", visibility, n, want)
		}
	}
}

// Arguments can be secrets: logs of programs can do without, as KubeArmor's. Alerts tell them.
func TestDropResourceFromProcessLogs(t *testing.T) {
	t.Parallel()
	policy := policyDir(t, "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: p}\nspec: {process: {matchPaths: [{path: /bin/true}]}, action: Audit}\n")
	for _, flag := range []string{"--drop-process-resource", "--dropResourceFromProcessLogs"} {
		c := newCollector(t)
		if out := traceWith(t, c, []string{flag, "--visibility", "process,file:write", "--policies", policy}, "/bin/sh", "-c", "/bin/cat /dev/null; /bin/true a; : > /dev/null"); out.code != 0 {
			t.Fatal(out)
		}
		logs := 0
		for _, e := range c.records(t) {
			log := e.PolicyName == "" && e.Operation == "Process"
			if log != (e.Resource == "") || e.ProcessName == "" {
				t.Errorf("%+v", e)
			}
			if log {
				logs++
			}
		}
		if logs < 2 {
			t.Errorf("%d logs", logs)
		}
	}
}

// Logs that are alike are joined with a count; none is lost, and alerts are not joined.
func TestAggregate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	c := newCollector(t)
	policy := policyDir(t, "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: p}\nspec: {file: {matchPaths: [{path: "+secret+"}]}, action: Audit}\n")
	out := traceWith(t, c, []string{"--aggregate", "--visibility", "file:write", "--policies", policy}, "/bin/bash", "-c", `cd "$1"; for i in {1..300}; do : > "f$i"; done; for i in 1 2 3; do : > secret; done`, "sh", dir)
	if out.code != 0 {
		t.Fatal(out)
	}
	logs, calls, alerts := 0, 0, 0
	for _, e := range c.records(t) {
		if e.PolicyName != "" {
			alerts++
			continue
		}
		if !strings.HasPrefix(e.Resource, dir) {
			continue // what the shell opens for itself
		}
		n := 1
		if count := e.EventData["Count"]; count != "" {
			var err error
			if n, err = strconv.Atoi(count); err != nil || !strings.HasSuffix(e.Data, " count="+count) {
				t.Errorf("%q: %v", e.Data, err)
			}
		}
		logs++
		calls += n
	}
	if calls != 300 || logs == calls || alerts != 3 {
		t.Errorf("%d logs of %d calls, and %d alerts", logs, calls, alerts)
	}
}
