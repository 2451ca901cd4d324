package access

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidearmor/sidearmor/schema/secret"
)

func request(authorization ...string) *http.Request {
	return &http.Request{Header: http.Header{"Authorization": authorization}}
}

func basic(userinfo string) string { return base64.StdEncoding.EncodeToString([]byte(userinfo)) }

func TestTokens(t *testing.T) {
	tokens, err := NewTokens("", func() ([]secret.String, error) {
		return []secret.String{secret.New("first"), secret.New("second")}, nil
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		shown []string
		want  bool
	}{
		{[]string{"Bearer first"}, true},
		{[]string{"bearer second"}, true},
		{[]string{"Bearer  second "}, true},
		{nil, false},
		{[]string{""}, false},
		{[]string{"Bearer"}, false},
		{[]string{"Bearer "}, false},
		{[]string{"Bearer third"}, false},
		{[]string{"Bearer firs"}, false},
		{[]string{"Bearer first,second"}, false},
		{[]string{"Basic first"}, false},
		{[]string{"Basic " + basic("falco:first")}, true},
		{[]string{"basic " + basic(":second")}, true},
		{[]string{"Basic " + basic("first:")}, true},
		{[]string{"Basic " + basic("first:third")}, false},
		{[]string{"Basic " + basic("falco:firs")}, false},
		{[]string{"Basic " + basic("first")}, false},
		{[]string{"Basic " + basic(":")}, false},
		{[]string{"Bearer " + basic("falco:first")}, false},
		{[]string{"first"}, false},
		{[]string{"Bearer first", "Bearer first"}, false},
	} {
		if got := tokens.Valid(request(c.shown...)); got != c.want {
			t.Errorf("%q: %v", c.shown, got)
		}
	}
	if printed := fmt.Sprintf("%v %+v %#v", tokens, *tokens, tokens); strings.Contains(printed, "first") {
		t.Errorf("shows a token: %s", printed)
	}
}

// fileOf gives a loader of the one token that a file holds.
func fileOf(path string) func() ([]secret.String, error) {
	return func() ([]secret.String, error) {
		text, err := os.ReadFile(path)
		if err != nil || len(text) == 0 {
			return nil, errors.New("not usable")
		}
		return []secret.String{secret.New(string(text))}, nil
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTokensFollowTheirFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		path := filepath.Join(t.TempDir(), "token")
		if _, err := NewTokens(path, fileOf(path), nil); err == nil {
			t.Fatal("starts without its file")
		}
		write(t, path, "canary-1")
		tokens, err := NewTokens(path, fileOf(path), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		check := func(when, valid, invalid string) {
			t.Helper()
			time.Sleep(recheck)
			for range 2 {
				if !tokens.Valid(request("Bearer "+valid)) || tokens.Valid(request("Bearer "+invalid)) {
					t.Errorf("%s: %s does not count, or %s does", when, valid, invalid)
				}
			}
		}
		check("at first", "canary-1", "canary-22")
		write(t, path, "canary-22")
		check("after a change", "canary-22", "canary-1")
		write(t, path, "")
		check("while it is empty", "canary-22", "canary-1")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		check("while it is missing", "canary-22", "canary-1")
		write(t, path+".new", "canary-333")
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		check("after a replacement", "canary-333", "canary-22")
		if text := log.String(); strings.Count(text, "cannot be used") != 2 || strings.Contains(text, "canary") {
			t.Errorf("log:\n%s", text)
		}
	})
}
