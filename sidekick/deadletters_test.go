package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// letters runs sidekick deadletters and gives its exit status and what it says.
func letters(t *testing.T, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), append([]string{"deadletters"}, args...), env, &out, &errs)
	return status, out.String(), errs.String()
}

// untilLetters waits until so many dead letters are held.
func untilLetters(t *testing.T, env []string, n int) string {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, out, errs := letters(t, env, "list", "--json", "--limit", "0")
		if status == 0 && strings.Count(out, "\n") == n {
			return out
		}
		if time.Now().After(limit) {
			t.Fatalf("want %d dead letters, status %d: %s%s", n, status, out, errs)
		}
	}
}

// A receiver refuses, is mended, and gets what it refused once more, while another
// that took it gets nothing.
func TestReplayReachesTheOneOutput(t *testing.T) {
	var mended atomic.Bool
	broken := receive(t, func(int) int {
		if mended.Load() {
			return http.StatusOK
		}
		return http.StatusBadRequest
	})
	other := receive(t, nil)
	dir := t.TempDir()
	config := filepath.Join(dir, "sidekick.yaml")
	if err := os.WriteFile(config, []byte("webhook:\n- address: "+broken.URL+"\n- name: other\n  address: "+other.URL+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := environment(filepath.Join(dir, "queue"))
	s := inside(t, env, "-c", config)
	post(t, s.url, batch("alert", 0, 3), "a-batch")
	untilLetters(t, env, 3)
	post(t, s.url, event("log", 3), "")
	untilLetters(t, env, 4)

	status, out, errs := letters(t, env, "list", "-c", config, "--output", "webhook", "--limit", "2")
	times := regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:]+Z`)
	golden(t, "deadletters-list.golden", times.ReplaceAll([]byte(out+errs), []byte("2006-01-02T15:04:05Z")))
	if status != 0 {
		t.Errorf("exit status %d", status)
	}
	if status, out, _ := letters(t, env, "show", "a-batch-1", "-c", config); status != 0 || !strings.Contains(out, `"id": "a-batch-1"`) || !strings.Contains(out, `"reason": "webhook answered 400 Bad Request"`) {
		t.Errorf("exit status %d, %s", status, out)
	}

	mended.Store(true)
	status, out, errs = letters(t, env, "replay", "--all", "-c", config)
	if status != 0 || !strings.Contains(out, "2 is delivered to webhook again as a-batch-1-r2\n") || strings.Count(out, "\n") != 4 {
		t.Errorf("exit status %d: %s%s", status, out, errs)
	}
	got := broken.wait(t, 4)
	slices.Sort(got) // alerts go before logs
	if !slices.Equal(got, numbers(0, 4)) {
		t.Errorf("mended receiver got %v", got)
	}
	untilLetters(t, env, 0)
	// What comes after shows that nothing else came before.
	post(t, s.url, batch("alert", 9, 10)+event("log", 10), "")
	broken.wait(t, 6)
	if got := other.wait(t, 6); len(got) != 6 {
		t.Errorf("the other receiver got %v", got)
	}
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
	if n := len(broken.taken()); n != 6 {
		t.Errorf("the mended receiver got %d events", n)
	}
}

// While no sidekick runs the command opens the queue itself; the next start
// delivers.
func TestReplayWithoutSidekick(t *testing.T) {
	refused := true
	r := receive(t, func(int) int {
		if refused {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	env := environment(t.TempDir(), "WEBHOOK_ADDRESS="+r.URL)
	s := inside(t, env)
	post(t, s.url, event("alert", 7), "")
	untilLetters(t, env, 1)
	s.stop()
	r.mu.Lock()
	refused = false
	r.mu.Unlock()

	without := env[:2]
	if status, _, errs := letters(t, without, "replay", "1"); status != 1 || !strings.Contains(errs, "dead letter 1: webhook: output is not configured") {
		t.Errorf("exit status %d: %s", status, errs)
	}
	if status, out, errs := letters(t, env, "replay", "1"); status != 0 || !strings.HasPrefix(out, "1 is delivered to webhook again as ") {
		t.Errorf("exit status %d: %s%s", status, out, errs)
	}
	inside(t, env)
	if got := r.wait(t, 1); !slices.Equal(got, numbers(7, 8)) {
		t.Errorf("got %v", got)
	}
}

func TestDeadLettersOfAKilledSidekick(t *testing.T) {
	r := receive(t, func(int) int { return http.StatusBadRequest })
	// A path beyond what a socket's address can hold.
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100), "queue")
	env := environment(dir, "WEBHOOK_ADDRESS="+r.URL)
	s := process(t, env)
	post(t, s.url, batch("alert", 0, 2), "")
	untilLetters(t, env, 2)
	info, err := os.Stat(filepath.Join(dir, controlSocket))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	s.kill()
	if _, err := os.Stat(filepath.Join(dir, controlSocket)); err != nil {
		t.Fatalf("the killed sidekick leaves no socket: %v", err)
	}
	if status, out, errs := letters(t, env, "delete", "1", "17"); status != 1 || out != "1 is removed\n" || !strings.Contains(errs, "17: dead letter 17: there is no such dead letter") {
		t.Errorf("exit status %d: %s%s", status, out, errs)
	}
	s = process(t, env)
	untilLetters(t, env, 1)
	if status, out, _ := letters(t, env, "delete", "--output", "webhook"); status != 0 || out != "2 is removed\n" {
		t.Errorf("exit status %d: %s", status, out)
	}
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
}

func TestDeadLettersArguments(t *testing.T) {
	empty := environment(filepath.Join(t.TempDir(), "none"))
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"", 2, "\n  sidekick deadletters list [--output NAME] [--limit N] [--json]\n"},
		{"burn", 2, `unknown command ["deadletters" "burn"]`},
		{"list 1", 2, "takes no numbers"},
		{"list --all", 2, "--all is not for deadletters list"},
		{"list --limit -1", 2, "--limit"},
		{"show", 2, "wants the number or the ID"},
		{"show 1 2", 2, "wants the number or the ID"},
		{"show 1 --json", 2, "--json is not for deadletters show"},
		{"replay", 2, "wants either"},
		{"replay 1 --all", 2, "wants either"},
		{"delete 1 --output webhook", 2, "wants either"},
		{"list", 1, "there is no queue in"},
		{"list -c /nowhere", 1, "/nowhere"},
	} {
		status, _, errs := letters(t, empty, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit status %d, %s", c.args, status, errs)
		}
	}
	var errs bytes.Buffer
	if status := run(t.Context(), []string{"check", "--limit", "3"}, nil, io.Discard, &errs); status != 2 || !strings.Contains(errs.String(), "--limit is for sidekick deadletters and policy") {
		t.Errorf("exit status %d, %s", status, &errs)
	}
	if _, err := os.Stat(strings.TrimPrefix(empty[1], "QUEUE_DIR=")); err == nil {
		entries, _ := os.ReadDir(strings.TrimPrefix(empty[1], "QUEUE_DIR="))
		t.Errorf("a directory was made: %v", entries)
	}
}

func TestPrintableJSON(t *testing.T) {
	for text, want := range map[string]string{
		"{\n \"a\": \"ü\"}": "{\n \"a\": \"ü\"}",
		"\x7f\u009b31m":     `\u007f\u009b31m`,
		"\u202e":            `\u202e`,
		"\U000e0041":        `\udb40\udc41`,
	} {
		if got := printableJSON(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := shorten("äöü", 3) + shorten("äöüß", 3); got != "äöüäö…" {
		t.Error(got)
	}
}
