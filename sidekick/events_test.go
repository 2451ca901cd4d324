package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/queue"
)

const shadowPolicy = "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: no-shadow}\n" +
	"spec: {file: {matchPaths: [{path: /etc/shadow}]}, action: Block}\n"

func opened(path string) string {
	return `{"Type":"ContainerLog","Operation":"File","ProcessName":"/usr/bin/cat","Resource":"` + path + `","Data":"syscall=SYS_OPENAT flags=O_RDONLY","Result":"Passed"}`
}

// What was delivered stays for a look at the past: over HTTP with the scope read, and
// for policy simulate by way of the sidekick that runs, and of the queue when none does.
func TestStoredEvents(t *testing.T) {
	receiver := receive(t, nil)
	dir := t.TempDir()
	policy := filepath.Join(dir, "p.yaml")
	if err := os.WriteFile(policy, []byte(shadowPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	env := environment(filepath.Join(dir, "queue"), "WEBHOOK_ADDRESS="+receiver.URL, "WEBHOOK_LOGS=true", "AUTH_TOKEN=CANARY-post", "AUTH_TOKEN_READ=CANARY-read")
	s := inside(t, env)
	c := client("tcp", strings.TrimPrefix(s.url, "http://"), nil, false)
	var want []string
	for i := range 20 {
		body := opened(fmt.Sprint("/etc/", []string{"shadow", "passwd"}[i%2]))
		want = append(want, body)
		if status, text := askWith(t, c, http.MethodPost, s.url, "CANARY-post", body); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	receiver.wait(t, len(want))
	status, text := ask(t, c, http.MethodGet, s.url+"/events?since=1h", "CANARY-read")
	if got := strings.Split(strings.TrimSuffix(text, "\n"), "\n"); status != 200 || !slices.Equal(got, want) {
		t.Errorf("%d, %d events: %s", status, len(got), text)
	}
	if status, text := ask(t, c, http.MethodGet, s.url+"/events?since="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "CANARY-read"); status != 200 || text != "" {
		t.Errorf("since a time to come: %d %s", status, text)
	}
	for since, says := range map[string]string{"yesterday": "neither a duration", "-1h": "neither a duration", "2006-01-02": "neither a duration"} {
		if status, text := ask(t, c, http.MethodGet, s.url+"/events?since="+since, "CANARY-read"); status != 400 || !strings.Contains(text, says) {
			t.Errorf("since %s: %d %s", since, status, text)
		}
	}
	simulate := func(when string) {
		t.Helper()
		var out bytes.Buffer
		if status := run(t.Context(), []string{"policy", "simulate", policy, "--since", "30m"}, env, &out, &out); status != 0 || !strings.Contains(out.String(), "20 events: 10 would have been denied, 0 alerted, 10 passed.") {
			t.Errorf("%s: %d, %s", when, status, out.String())
		}
	}
	simulate("while the sidekick runs")
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	simulate("afterwards")
}

// An answer that cannot be completed is cut short, and says so to who reads it.
func TestStoredEventsCutShort(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "p.yaml")
	if err := os.WriteFile(policy, []byte(shadowPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	server := unixServer(t, dir, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, opened("/etc/shadow"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	defer server()
	var out bytes.Buffer
	if status := run(t.Context(), []string{"policy", "simulate", policy}, []string{"QUEUE_DIR=" + dir}, &out, &out); status != 1 || !strings.Contains(out.String(), "answer ended early") {
		t.Errorf("%d, %s", status, out.String())
	}
}

// unixServer stands in for a sidekick at its control socket.
func unixServer(t *testing.T, dir string, h http.HandlerFunc) (stop func()) {
	t.Helper()
	l, err := listenControl(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return serveControl(l, h, slog.New(slog.DiscardHandler))
}

// The past can be long: it takes neither the memory of what it is, nor holds up what
// comes.
func TestStoredEventsOfALongPast(t *testing.T) {
	dir := t.TempDir()
	q, err := queue.Open(t.Context(), queue.Options{Dir: filepath.Join(dir, "queue"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	for from := 0; from < n; from += 1000 {
		var some []schema.Packed
		for i := range 1000 {
			e, err := schema.Decode([]byte(opened(fmt.Sprint("/tmp/", from+i))))
			if err != nil {
				t.Fatal(err)
			}
			e.ID, e.Received = fmt.Sprint("e-", from+i), time.Now().UTC()
			some = append(some, e.Pack())
		}
		if err := q.Publish(context.WithoutCancel(t.Context()), some, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	s := inside(t, environment(filepath.Join(dir, "queue")))
	c := client("tcp", strings.TrimPrefix(s.url, "http://"), nil, false)
	status, text := ask(t, c, http.MethodGet, s.url+"/events", "")
	if lines := strings.Count(text, "\n"); status != 200 || lines != n {
		t.Errorf("%d, %d lines", status, lines)
	}
}
