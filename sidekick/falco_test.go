package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// falcoEvent is as Falco writes it: nanoseconds as a number, nulls, brackets in names.
const falcoEvent = `{"hostname":"node-1","output":"17:30:07.123456789: Warning Sensitive file opened (file=/etc/shadow)",` +
	`"output_fields":{"container.id":"3ad7b26ded6d","evt.time":1795900831243662642,"fd.name":"/etc/shadow","k8s.ns.name":null,` +
	`"proc.aname[2]":"runc","proc.tty":34816,"user.loginuid":-1},"priority":"Warning","rule":"Read sensitive file untrusted",` +
	`"source":"syscall","tags":["T1555","container"],"time":"2026-11-28T17:30:07.123456789Z"}`

// Falco's http_output is libcurl, with its url, a Content-Type and a User-Agent, and
// nothing else (userspace/falco/outputs_http.cpp). What its options do to a request,
// curl does here.
func TestFalcosHTTPOutput(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("there is no curl")
	}
	body := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(body, []byte(falcoEvent), 0o600); err != nil {
		t.Fatal(err)
	}
	s := inside(t, environment(t.TempDir(), "AUTH_TOKEN=CANARY-tok"))
	withToken := strings.Replace(s.url, "http://", "http://falco:CANARY-tok@", 1)
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"keep_alive: false", []string{"--no-keepalive", withToken}, "200"},
		{"keep_alive: true, two events", []string{"--keepalive-time", "60", withToken + "/", withToken + "/"}, "200200"},
		{"compress_uploads: true, which asks for a compressed answer", []string{"--tr-encoding", withToken + "/"}, "200"},
		{"HTTP/1.0", []string{"-0", withToken + "/"}, "200"},
		{"a body that waits to be let in", []string{"-H", "Expect: 100-continue", withToken + "/"}, "200"},
		{"another token", []string{strings.Replace(s.url, "http://", "http://falco:wrong@", 1)}, "401"},
		{"none", []string{s.url}, "401"},
		{"json_output: false", []string{"-H", "Content-Type: text/plain", "-d", "17:30:07: Warning Sensitive file opened", withToken}, "400"},
	} {
		args := []string{"-s", "-w", "%{http_code}", "-A", "falcosecurity/falco"}
		if c.name != "json_output: false" {
			args = append(args, "-H", "Content-Type: application/json", "--data-binary", "@"+body)
		}
		if strings.Contains(c.want, "200") {
			args = append(args, "-o", "/dev/null", "-o", "/dev/null")
		}
		out, err := exec.CommandContext(t.Context(), "curl", append(args, c.args...)...).CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), c.want) {
			t.Errorf("%s: %v, %s, want %s", c.name, err, out, c.want)
		}
	}
	c := client("tcp", strings.TrimPrefix(s.url, "http://"), nil, false)
	_, metrics := ask(t, c, "GET", s.url+"/metrics", "")
	for _, want := range []string{
		`falcosecurity_falcosidekick_falco_events_total{hostname="node-1",k8s_ns_name="",k8s_pod_name="",priority="4",priority_raw="warning",rule="Read sensitive file untrusted",source="syscall"} 6`,
		`sidearmor_rejected_events_total{reason="malformed"} 1`, `sidearmor_rejected_events_total{reason="unauthorized"} 2`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(s.log.String(), "CANARY") {
		t.Errorf("the token is shown:\n%s", s.log)
	}
}
