package emit

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema/secret"
)

func TestShowsToken(t *testing.T) {
	for name, o := range map[string]Options{
		"itself":    {Token: secret.New("t0ken")},
		"in a file": {TokenFile: tokenFile(t, "t0ken\n")},
	} {
		t.Run(name, func(t *testing.T) {
			shown := make(chan []string, 1)
			s := newSidekick(t)
			s.answer = func(_ int, _ http.ResponseWriter, r *http.Request, _ []string) bool {
				shown <- r.Header["Authorization"]
				return false
			}
			o.URL, o.URLGiven = strings.Replace(s.URL, "http://", "http://user:word@", 1), true
			e, end := start(t, o)
			e.Emit(alertOf("/a"))
			if err := end(long); err != nil {
				t.Fatal(err)
			}
			equal(t, <-shown, []string{"Bearer t0ken"})
		})
	}
}

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenFileMustBeUsable(t *testing.T) {
	for name, path := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "none"), "empty": tokenFile(t, " \n"),
		"two": tokenFile(t, "canary,canary"), "lines": tokenFile(t, "canary\ncanary"), "large": tokenFile(t, strings.Repeat("canary", 1000)),
	} {
		_, err := New(Options{URL: "http://localhost/", TokenFile: path})
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A refused token is said once, whatever came before, and not repeated by the
// log even where the answer repeats it. The events arrive once it has changed.
func TestTokenRefusedThenChanged(t *testing.T) {
	const old, new = "canary-old", "canary-new"
	path := tokenFile(t, old)
	s := newSidekick(t)
	s.answer = func(n int, w http.ResponseWriter, r *http.Request, _ []string) bool {
		shown := r.Header.Get("Authorization")
		switch {
		case n == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case shown != "Bearer "+new:
			http.Error(w, "not with "+shown, http.StatusUnauthorized)
		default:
			return false
		}
		return true
	}
	var log bytes.Buffer
	e, end := start(t, Options{URL: s.URL, URLGiven: true, TokenFile: path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	e.Emit(alertOf("/a"))
	eventually(t, "several requests", func() bool { return e.Stats().Requests > 4 })
	if err := os.WriteFile(path, []byte(new), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	equal(t, s.resources(), []string{"/a"})
	text := log.String()
	if strings.Count(text, "refuses the token") != 1 || !strings.Contains(text, "not with Bearer ***") || strings.Contains(text, "canary") {
		t.Errorf("log:\n%s", text)
	}
}

func TestBarredBackoff(t *testing.T) {
	want := 50 * time.Millisecond
	for i, got := range gaps(t, Options{URLGiven: true}, 12, func() (*http.Response, error) { return respond(401, "") }) {
		if got > want || got < want/2 {
			t.Errorf("pause %d is %v, want %v to %v", i, got, want/2, want)
		}
		want = min(2*want, 10*time.Second)
	}
}
