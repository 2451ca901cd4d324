package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/sidekick/internal/api"
)

// Every row of the table that is no probe's refuses who has no token of its scope.
// What is added to the table is tried here without being named.
func TestEveryRouteAsksForItsScope(t *testing.T) {
	s := inside(t, environment(t.TempDir(), "AUTH_TOKEN=CANARY-post", "AUTH_TOKEN_READ=CANARY-read", "AUTH_TOKEN_ADMIN=CANARY-admin"))
	c := client("tcp", strings.TrimPrefix(s.url, "http://"), nil, false)
	variables := regexp.MustCompile(`\{[^}]*\}`)
	tried := 0
	for _, r := range routes(nil, nil, nil) {
		path := variables.ReplaceAllString(r.Path, "x")
		if r.Class == api.Probe {
			if status, text := ask(t, c, http.MethodGet, s.url+path, ""); status != 200 {
				t.Errorf("%s: %d %s", path, status, text)
			}
			continue
		}
		want := map[string]int{"": 401, "wrong": 401, "CANARY-post": 403, "CANARY-read": 403}
		delete(want, "CANARY-"+r.Class.String())
		for token, status := range want {
			if got, text := ask(t, c, r.Method, s.url+path, token); got != status {
				t.Errorf("%s %s with %q: %d %s, want %d", r.Method, path, token, got, text, status)
			}
			tried++
		}
	}
	if tried == 0 {
		t.Error("nothing was tried")
	}
	s.stop()
	if strings.Contains(s.log.String(), "CANARY") {
		t.Errorf("a token is shown:\n%s", s.log)
	}
}

// Where everybody who can connect may post, nobody administers; and where only this
// machine is served, whoever is on it may.
func TestWhoAdministersWithoutTokens(t *testing.T) {
	for env, want := range map[string]bool{"LISTEN_INSECURE=true": false, "LISTENADDRESS=127.0.0.1": true} {
		s := inside(t, environment(t.TempDir(), env))
		_, port, _ := strings.Cut(strings.TrimPrefix(s.url, "http://"), ":")
		port = port[strings.LastIndex(port, ":")+1:]
		c := client("tcp", "127.0.0.1:"+port, nil, false)
		for _, r := range routes(nil, nil, nil) {
			if r.Class != api.Admin || r.Stream {
				continue
			}
			path := regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(r.Path, "x")
			// What a handler refuses beyond that is its own affair.
			status, text := ask(t, c, r.Method, "http://127.0.0.1"+path, "")
			if closed := status == 403 && strings.Contains(text, "nobody can do this here"); closed == want {
				t.Errorf("%s: %s %s: %d %s", env, r.Method, path, status, text)
			}
		}
		if status, text := ask(t, c, http.MethodPost, "http://127.0.0.1/", ""); status != 200 {
			t.Errorf("%s: post: %d %s", env, status, text)
		}
		s.stop()
	}
}
