package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const checkConfig = `slack:
- webhookurl: https://hooks.slack.com/services/CANARY
  minimumpriority: warning
  kubearmorformat: "<!here> {{.Policy}}{{range $k, $v := .Labels}} {{$k}}={{$v}}{{end}}"
- name: oncall
  webhookurl: https://hooks.slack.com/services/CANARY2
  username: On-call
  filter: |
    event.action == "Block" &&
    event.namespace.startsWith("prod")
discord:
  webhookurl: https://discord.com/api/webhooks/CANARY
  filter: event.data["Flags"] == "O_RDONLY"
  kubearmorformat: "{{.Headline}}: {{index .Tags 0}}"
webhook:
  address: https://user:CANARY@example.org/
  filter: event.kind == "log" || event.fields[?"proc.name"].orValue("") == "bash"
`

const checkEvents = `{"Type":"MatchedPolicy","PolicyName":"p","Severity":"9","Operation":"File","Action":"Block","NamespaceName":"prod-1","Labels":"app=<web>","Resource":"/etc/shadow","ProcessName":"/bin/cat","EventData":{"Flags":"O_RDONLY"},"ATags":["MITRE"],"UpdatedTime":"2026-01-02T03:04:05.000000Z"}
{"Type":"MatchedPolicy","PolicyName":"q","Operation":"Process","Action":"Audit","Source":"a\u001b[2J","UpdatedTime":"2026-01-02T03:04:05.000000Z"}
{"Type":"ContainerLog","Operation":"File","Resource":"/x"}
{"rule":"Terminal shell","priority":"Warning","time":"2026-01-02T03:04:05Z","output":"a shell","output_fields":{"proc.name":"bash"}}
{"Type":7,"Operation":"File"}
`

// checked runs sidekick check and gives its status and what it writes.
func checked(t *testing.T, text, events string, env ...string) (status int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"check"}
	for name, content := range map[string]string{"conf.yaml": text, "events.json": events} {
		if content == "" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, map[string]string{"conf.yaml": "-c", "events.json": "--events"}[name], path)
	}
	var out, errs bytes.Buffer
	status = run(t.Context(), args, env, &out, &errs)
	for _, text := range []string{out.String(), errs.String()} {
		if strings.Contains(text, "CANARY") || strings.Contains(text, "\x1b") {
			t.Errorf("a secret, or an escape, is shown:\n%q", text)
		}
	}
	clean := func(b *bytes.Buffer) string { return strings.ReplaceAll(b.String(), dir+"/", "") }
	return status, clean(&out), clean(&errs)
}

func TestCheck(t *testing.T) {
	status, out, errs := checked(t, checkConfig, checkEvents, "LISTENPORT=1234", "DISCORD_ICON=https://i")
	if status != 1 || !strings.Contains(errs, "some events are refused, or a filter or template fails on them") {
		t.Errorf("exit status %d: %s", status, errs)
	}
	golden(t, "check.golden", []byte(out))
}

func TestCheckStatus(t *testing.T) {
	good := strings.Split(checkEvents, "\n")[0]
	for _, c := range []struct {
		name, text, events string
		env                []string
		status             int
		stdout, stderr     string
	}{
		{"nothing", "", "", nil, 0, "listenport: 2801", "no output is configured"},
		{"valid", checkConfig, "", nil, 0, "name: oncall", ""},
		{"all fine", checkConfig, good, nil, 0, "event 1, alert, Alert", ""},
		{"array", checkConfig, "[" + good + "," + good + "]", nil, 0, "event 2, alert, Alert", ""},
		{"warning", "", "", []string{"SLACK_USERNAME=x"}, 0, "debug: false", "warning: SLACK_USERNAME has no effect"},
		{"invalid", "", "", []string{"SLACK_2_WEBHOOKURL=https://CANARY", "LISTENPORT=x"}, 1, "", "LISTENPORT: \"x\" is not a port, use 0 (any free one) to 65535\nsidekick: SLACK_2_NAME: missing"},
		{"filter", "", "", []string{"STDOUT_ENABLED=true", "STDOUT_FILTER=event.nope"}, 1, "", "STDOUT_FILTER: line 1, column 6: undefined field 'nope'"},
		{"template", "", "", []string{"SLACK_WEBHOOKURL=https://CANARY", "SLACK_KUBEARMORFORMAT={{.Nope}}"}, 1, "", "SLACK_KUBEARMORFORMAT: try: template"},
		{"template fails", "", good, []string{"SLACK_WEBHOOKURL=https://CANARY", "SLACK_KUBEARMORFORMAT={{index .Tags 3}}"}, 1, "the template fails", "a filter or template fails"},
		{"no JSON", checkConfig, "nonsense", nil, 1, "event 1 is refused", "refused"},
		{"no events", checkConfig, " ", nil, 1, "slack:", "events.json: body has no event"},
	} {
		status, out, errs := checked(t, c.text, c.events, c.env...)
		if status != c.status || !strings.Contains(out, c.stdout) || !strings.Contains(errs, c.stderr) || (c.stderr == "") != (errs == "") {
			t.Errorf("%s: exit status %d\n%s\n%s", c.name, status, out, errs)
		}
	}
	var errs bytes.Buffer
	if status := run(t.Context(), []string{"check", "--events", "/nowhere"}, nil, io.Discard, &errs); status != 1 || !strings.Contains(errs.String(), "open /nowhere") {
		t.Errorf("exit status %d: %s", status, &errs)
	}
	if status := run(t.Context(), []string{"--events", "x"}, nil, io.Discard, &errs); status != 2 {
		t.Errorf("exit status %d", status)
	}
}

// Two outputs of a kind with different filters each get their own, and keep their
// own position over a restart.
func TestInstances(t *testing.T) {
	all, blocked := receive(t, nil), receive(t, nil)
	env := environment(t.TempDir(), "WEBHOOK_ADDRESS="+all.URL, "WEBHOOK_2_ADDRESS="+blocked.URL, "WEBHOOK_2_NAME=even",
		`WEBHOOK_2_FILTER=int(event.resource) % 2 == 0`)
	s := inside(t, env)
	post(t, s.url, batch("alert", 0, 10), "")
	all.wait(t, 10)
	blocked.wait(t, 5)
	if !regexp.MustCompile(`"outputs":"webhook,webhook-even"`).MatchString(s.log.String()) {
		t.Errorf("log:\n%s", s.log)
	}
	s.stop()
	s = inside(t, env)
	post(t, s.url, batch("alert", 10, 14), "")
	all.wait(t, 14)
	if got := blocked.wait(t, 7); strings.Join(got, " ") != "0 2 4 6 8 10 12" || len(all.taken()) != 14 {
		t.Errorf("got %v, and %v", got, all.taken())
	}
}
