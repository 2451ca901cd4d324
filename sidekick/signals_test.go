package main

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// until returns when done says so, or fails.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("waited for too long: %s", what)
		}
	}
}

// When the reader of standard output goes, that output fails, and nothing else.
func TestReaderOfStandardOutputGoes(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	r := receive(t, nil)
	s := processTo(t, environment(t.TempDir(), "STDOUT_ENABLED=true", "WEBHOOK_ADDRESS="+r.URL), writer)
	writer.Close() // the process has its own
	post(t, s.url, event("alert", 0), "")
	if line, err := bufio.NewReader(reader).ReadString('\n'); err != nil || line == "" {
		t.Fatalf("%q, %v", line, err)
	}
	reader.Close()
	post(t, s.url, event("alert", 1), "")
	until(t, "the output fails", func() bool { return strings.Contains(fetch(t, s.url+"/readyz"), "broken pipe") })
	if status := post(t, s.url, event("alert", 2), ""); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if got := r.wait(t, 3); !slices.Equal(got, numbers(0, 3)) {
		t.Errorf("got %v", got)
	}
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
}

// SIGHUP ends nothing, and a token that was changed before counts.
func TestHangup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first-token")
	s := process(t, environment(t.TempDir(), "AUTH_TOKEN_FILE="+file))
	if status, _ := ask(t, http.DefaultClient, http.MethodPost, s.url+"/test", "first-token"); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	write("another-token")
	for range 3 {
		s.hup()
	}
	until(t, "the log tells of SIGHUP", func() bool { return strings.Contains(s.log.String(), "SIGHUP") })
	until(t, "the new token counts", func() bool {
		status, _ := ask(t, http.DefaultClient, http.MethodPost, s.url+"/test", "another-token")
		return status == http.StatusOK
	})
	if status, _ := ask(t, http.DefaultClient, http.MethodPost, s.url+"/test", "first-token"); status != http.StatusUnauthorized {
		t.Errorf("status %d with the old token", status)
	}
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
}
