package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tested runs sidekick test and gives its status and what it writes.
func tested(t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), append([]string{"test"}, args...), env, &out, &errs)
	for _, text := range []string{out.String(), errs.String()} {
		if strings.Contains(text, "CANARY") || strings.Contains(text, "\x1b") {
			t.Errorf("a secret, or an escape, is shown:\n%q", text)
		}
	}
	return status, out.String(), errs.String()
}

// service is one that answers with a status and a text, and keeps what it got.
func service(t *testing.T, status int, text string) (url string, bodies <-chan string) {
	t.Helper()
	got := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func TestTestCommand(t *testing.T) {
	good, bodies := service(t, http.StatusOK, "ok")
	gone, _ := service(t, http.StatusNotFound, "no_service")
	bad, _ := service(t, http.StatusBadRequest, "\x1b[2Jno such\nfield")
	busy, _ := service(t, http.StatusTooManyRequests, "")
	env := []string{
		"WEBHOOK_ADDRESS=" + good + "/CANARY", "WEBHOOK_MINIMUMPRIORITY=emergency", "WEBHOOK_FILTER=false", "CUSTOMFIELDS=env:prod",
		"SLACK_WEBHOOKURL=" + gone + "/services/CANARY",
		"LOKI_HOSTPORT=" + bad, "LOKI_APIKEY=CANARY", "LOKI_USER=u",
		"DISCORD_WEBHOOKURL=" + busy + "/CANARY", "DISCORD_ONCALL_WEBHOOKURL=" + good + "/CANARY",
		"ALERTMANAGER_HOSTPORT=http://u:CANARY@127.0.0.1:" + closedPort(t), "SMTP_HOST=x",
	}
	status, out, errs := tested(t, env)
	want := regexp.MustCompile(`^slack: failed, would be tried again: [^\n]*404[^\n]*
discord: failed, too many messages, would be tried again: [^\n]*
discord-oncall: ok
alertmanager: failed, would be tried again: [^\n]*connection refused[^\n]*
webhook: ok
loki: failed, refused for good: [^\n]*400[^\n]*
$`)
	if status != 1 || !want.MatchString(out) || !strings.Contains(errs, "sidekick: not every output has taken the event\n") {
		t.Errorf("exit status %d\n%s\n%s", status, out, errs)
	}
	var event struct {
		Rule   string
		Fields map[string]any `json:"output_fields"`
	}
	for range 2 {
		if body := <-bodies; strings.HasPrefix(body, `{"`) && strings.Contains(body, "output_fields") {
			if err := json.Unmarshal([]byte(body), &event); err != nil {
				t.Error(err)
			}
		}
	}
	if event.Rule != "Test rule" || event.Fields["env"] != "prod" {
		t.Errorf("the webhook got %+v", event)
	}
	for name, c := range map[string]struct {
		status      int
		out, errors string
	}{
		"webhook":        {0, "webhook: ok\n", ""},
		"discord-oncall": {0, "discord-oncall: ok\n", ""},
		"slack":          {1, "slack: failed", "not every output"},
		"teams":          {1, "", `no output "teams" is configured, use one of: slack, discord, discord-oncall, alertmanager, webhook, loki`},
	} {
		status, out, errs := tested(t, env, name)
		if status != c.status || !strings.HasPrefix(out, c.out) || strings.Count(out, "\n") > 1 || !strings.Contains(errs, c.errors) {
			t.Errorf("%s: exit status %d\n%s\n%s", name, status, out, errs)
		}
	}
}

// closedPort gives one where nobody listens any more.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// Neither a queue that is in use nor a port that is taken matters, and none is made.
func TestTestCommandNeedsNoSidekick(t *testing.T) {
	good, bodies := service(t, http.StatusOK, "")
	dir := t.TempDir()
	file := filepath.Join(dir, "conf.yaml")
	if err := os.WriteFile(file, []byte("webhook: {address: '"+good+"'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	queue := filepath.Join(dir, "queue")
	status, out, errs := tested(t, []string{"QUEUE_DIR=" + queue, "LISTENPORT=" + takenPort(t)}, "-c", file)
	if status != 0 || out != "webhook: ok\n" || errs != "" || !strings.Contains(<-bodies, "Test rule") {
		t.Errorf("exit status %d\n%s\n%s", status, out, errs)
	}
	if _, err := os.Stat(queue); !os.IsNotExist(err) {
		t.Errorf("a queue is there: %v", err)
	}
}

func TestTestCommandRefused(t *testing.T) {
	for _, c := range []struct {
		env    []string
		args   []string
		status int
		want   string
	}{
		{nil, nil, 1, "sidekick: no output is configured"},
		{nil, []string{"slack"}, 1, "sidekick: no output is configured"},
		{[]string{"SLACK_USERNAME=x"}, nil, 1, "warning: SLACK_USERNAME has no effect"},
		{[]string{"LISTENPORT=x", "STDOUT_FORMAT=xml", "STDOUT_ENABLED=true"}, nil, 1, "STDOUT_FORMAT: unknown format"},
		{nil, []string{"a", "b"}, 2, `unknown command ["test" "a" "b"]`},
		{nil, []string{"--events", "x"}, 2, "--events is for sidekick check"},
	} {
		if status, out, errs := tested(t, c.env, c.args...); status != c.status || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%v %v: exit status %d\n%s\n%s", c.env, c.args, status, out, errs)
		}
	}
}

// What hangs ends the program no later than it is asked to end.
func TestTestCommandIsStopped(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	exit := make(chan int, 1)
	var out, errs bytes.Buffer
	go func() { exit <- run(ctx, []string{"test"}, []string{"WEBHOOK_ADDRESS=" + server.URL}, &out, &errs) }()
	select {
	case <-arrived:
	case <-time.After(20 * time.Second):
		t.Fatal("no request comes")
	}
	cancel()
	if status := <-exit; status != 1 || !strings.Contains(out.String(), "webhook: failed, would be tried again: ") {
		t.Errorf("exit status %d\n%s\n%s", status, &out, &errs)
	}
}
