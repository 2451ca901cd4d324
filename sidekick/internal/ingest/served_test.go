package ingest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/sidekick/internal/api"
)

// served puts handlers behind paths as the sidekick has them; without may, nobody
// needs a token to post.
func served(t *testing.T, o Options, may func(*http.Request) bool) (http.Handler, *api.API) {
	t.Helper()
	i := New(o)
	a, err := api.New(api.Options{
		Routes: []api.Route{
			{Path: "/", Method: http.MethodPost, Class: api.Post, Limits: api.Limits{Body: MaxBodyBytes}, Handler: i.Events},
			{Path: "/test", Method: http.MethodPost, Class: api.Post, Handler: i.Test},
			{Path: "/ping", Class: api.Probe, Handler: Ping},
			{Path: "/healthz", Class: api.Probe, Handler: Healthz},
			{Path: "/readyz", Class: api.Probe, Handler: i.Readyz},
			{Path: "/metrics", Class: api.Probe, Handler: i.Metrics},
		},
		Tokens: api.Tokens{Post: may}, Lost: i.Lost, Metrics: o.Metrics, Log: o.Log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a.Handler(api.Door{Local: true}), a
}

// server is one with the bounds that the sidekick's has.
func newServer(t *testing.T, o Options, may func(*http.Request) bool) *httptest.Server {
	t.Helper()
	h, a := served(t, o, may)
	server := httptest.NewUnstartedServer(nil)
	server.Config = a.Server(h)
	t.Cleanup(server.Close)
	return server
}

// guardedServer serves a store to those whom may lets in, and gives what it logs.
func guardedServer(t *testing.T, may func(*http.Request) bool, change func(*Options)) (*httptest.Server, *store, *syncLog) {
	t.Helper()
	s, text := &store{}, &syncLog{}
	log := slog.New(slog.NewTextHandler(text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o := Options{Store: s, Metrics: prometheus.NewRegistry(), Log: log}
	change(&o)
	server := newServer(t, o, may)
	server.Start()
	return server, s, text
}

func right(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer right" }

func TestUnauthorized(t *testing.T) {
	server, s, log := guardedServer(t, right, func(*Options) {})
	var texts []string
	for _, path := range []string{"/", "/test"} {
		for _, shown := range []string{"", "Bearer canary", "Basic canary"} {
			status, text, header := post(t, server.URL+path, strings.NewReader(alertEvent), "Authorization", shown)
			if status != http.StatusUnauthorized || header.Get("WWW-Authenticate") != `Bearer realm="sidearmor"` || header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %q: %d %s %v", path, shown, status, text, header)
			}
			texts = append(texts, text)
		}
		if status, text, _ := post(t, server.URL+path, strings.NewReader(alertEvent), "Authorization", "Bearer right"); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	for _, text := range texts {
		if text != texts[0] {
			t.Errorf("%s tells more than %s", text, texts[0])
		}
	}
	if len(s.events) != 2 {
		t.Errorf("%d stored", len(s.events))
	}
	for _, path := range []string{"/ping", "/healthz", "/readyz", "/metrics"} {
		text := get(t, server.URL+path)
		if !strings.HasPrefix(text, "200 ") || strings.Contains(text, "canary") {
			t.Errorf("%s: %s", path, text)
		}
		if path == "/metrics" && !strings.Contains(text, `sidearmor_rejected_events_total{reason="unauthorized"} 6`) {
			t.Error("not counted:\n", text)
		}
	}
	if text := log.String(); strings.Count(text, "without a valid token") != 1 || strings.Contains(text, "canary") {
		t.Errorf("log:\n%s", text)
	}
}

// syncLog is a log that may be read while it is written.
type syncLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *syncLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
