package emit

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

func TestDeliversInOrder(t *testing.T) {
	s := newSidekick(t)
	e, end := start(t, Options{URL: s.URL, URLGiven: true})
	want := names(5000)
	for i, name := range want {
		if i%7 == 0 {
			e.Emit(alertOf(name))
		} else {
			e.Emit(logOf(name))
		}
	}
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	equal(t, s.resources(), want)
	if n := slices.Max(s.sizes); n > maxBatchEvents {
		t.Errorf("a batch of %d events", n)
	}
	if st := e.Stats(); st.Delivered != 5000 || st.Emitted != 5000 || st.PendingBytes != 0 || st.LostAlerts+st.LostLogs != 0 {
		t.Errorf("stats %+v", st)
	}
}

// An event must not wait for the end of the workload.
func TestDeliversBeforeTheEnd(t *testing.T) {
	s := newSidekick(t)
	e, _ := start(t, Options{URL: s.URL, URLGiven: true})
	for _, name := range names(3) {
		e.Emit(logOf(name))
		eventually(t, "delivery of "+name, func() bool { return slices.Contains(s.resources(), name) })
	}
}

func TestRequest(t *testing.T) {
	headers := make(chan http.Header, 10)
	s := newSidekick(t)
	s.answer = func(_ int, _ http.ResponseWriter, r *http.Request, _ []string) bool {
		h := r.Header.Clone()
		h.Set("path", r.Method+" "+r.URL.Path)
		headers <- h
		return false
	}
	e, end := start(t, Options{URL: strings.Replace(s.URL, "http://", "http://user:word@", 1) + "/in", URLGiven: true})
	e.Emit(alertOf("/a"))
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	h := <-headers
	for name, want := range map[string]string{"path": "POST /in", "Content-Type": "application/x-ndjson", "Authorization": "Basic dXNlcjp3b3Jk"} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if len(h.Get("Idempotency-Key")) != 36 {
		t.Errorf("key %q", h.Get("Idempotency-Key"))
	}
}

func TestDownAtStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	e, end := start(t, Options{URL: "http://" + address, URLGiven: true})
	want := names(10)
	for _, name := range want {
		e.Emit(logOf(name))
	}
	eventually(t, "a failed request", func() bool { return e.Stats().Requests > 1 })
	s := newSidekick(t)
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal("the port was taken meanwhile: ", err)
	}
	server := &http.Server{Handler: s} //nolint:gosec // a test server on loopback
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	equal(t, s.resources(), want)
}

// Whatever an answer says that is neither yes nor no, the same batch comes again
// under the same key, in order, and is stored once.
func TestRetries(t *testing.T) {
	hijack := func(w http.ResponseWriter) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
	for name, answer := range map[string]func(s *sidekick, w http.ResponseWriter, key string, items []string){
		"503": func(_ *sidekick, w http.ResponseWriter, _ string, _ []string) {
			w.Header().Set("Retry-After", "0")
			http.Error(w, "full", http.StatusServiceUnavailable)
		},
		"429": func(_ *sidekick, w http.ResponseWriter, _ string, _ []string) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"500": func(_ *sidekick, w http.ResponseWriter, _ string, _ []string) {
			w.WriteHeader(http.StatusInternalServerError)
		},
		"401": func(_ *sidekick, w http.ResponseWriter, _ string, _ []string) { w.WriteHeader(http.StatusUnauthorized) },
		"404": func(_ *sidekick, w http.ResponseWriter, _ string, _ []string) { w.WriteHeader(http.StatusNotFound) },
		"redirect": func(_ *sidekick, w http.ResponseWriter, _ string, _ []string) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"dies before storing": func(_ *sidekick, w http.ResponseWriter, _ string, _ []string) { hijack(w) },
		"dies after storing": func(s *sidekick, w http.ResponseWriter, key string, items []string) {
			_ = s.store(key, items)
			hijack(w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSidekick(t)
			s.answer = func(n int, w http.ResponseWriter, r *http.Request, items []string) bool {
				if n == 1 || n == 2 || n == 4 {
					answer(s, w, r.Header.Get("Idempotency-Key"), items)
					return true
				}
				return false
			}
			e, end := start(t, Options{URL: s.URL, URLGiven: true})
			want := names(2500)
			for _, name := range want {
				e.Emit(logOf(name))
			}
			if err := end(long); err != nil {
				t.Fatal(err)
			}
			equal(t, s.resources(), want)
			if s.keys[1] != s.keys[2] || s.keys[0] == s.keys[1] {
				t.Errorf("keys %q", s.keys)
			}
		})
	}
}

func TestRefusedItems(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, bad, n int){
		"400 that names the item": func(w http.ResponseWriter, bad, _ int) {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]any{"error": "PID: no number", "item": bad, "field": "PID"})
		},
		"400 that does not": func(w http.ResponseWriter, _, _ int) { http.Error(w, "bad", http.StatusBadRequest) },
		"400 that lies":     func(w http.ResponseWriter, _, _ int) { http.Error(w, `{"item":-5}`, http.StatusBadRequest) },
		"413":               func(w http.ResponseWriter, _, _ int) { w.WriteHeader(http.StatusRequestEntityTooLarge) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSidekick(t)
			s.answer = func(_ int, w http.ResponseWriter, _ *http.Request, items []string) bool {
				bad := slices.IndexFunc(items, func(item string) bool { return strings.Contains(item, "poison") })
				if bad >= 0 {
					answer(w, bad, len(items))
				}
				return bad >= 0
			}
			e, end := start(t, Options{URL: s.URL, URLGiven: true})
			want := names(100)
			for i, name := range want {
				if i == 17 {
					e.Emit(logOf("/poison"))
				}
				if i == 60 {
					e.Emit(alertOf("/poison"))
				}
				e.Emit(logOf(name))
			}
			if err := end(long); err != nil {
				t.Fatal(err)
			}
			equal(t, s.resources(), want)
			if st := e.Stats(); st.LostAlerts != 1 || st.LostLogs != 1 || st.Delivered != 100 {
				t.Errorf("stats %+v", st)
			}
			checkReports(t, s, 1, 1, " refused by the sidekick")
		})
	}
}

func TestRejectedVerdicts(t *testing.T) {
	s := newSidekick(t)
	s.answer = func(n int, w http.ResponseWriter, _ *http.Request, items []string) bool {
		if n > 0 {
			return false
		}
		results := make([]map[string]string, len(items))
		for i := range results {
			results[i] = map[string]string{"status": "accepted"}
		}
		results[1] = map[string]string{"status": "rejected", "error": "Cwd: too long"}
		_ = json.NewEncoder(w).Encode(map[string]any{"accepted": len(items) - 1, "rejected": 1, "results": results})
		return true
	}
	log := &lockedBuffer{}
	e, end := start(t, Options{URL: s.URL, URLGiven: true, Logger: slog.New(slog.NewTextHandler(log, nil))})
	for _, name := range names(3) {
		e.Emit(alertOf(name))
	}
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	if st := e.Stats(); st.LostAlerts != 1 || st.Delivered != 2 {
		t.Errorf("stats %+v", st)
	}
	if !strings.Contains(log.String(), "Cwd: too long") {
		t.Errorf("the log does not say why: %s", log)
	}
	checkReports(t, s, 1, 0, "1 refused by the sidekick")
}

// checkReports adds up what was reported as lost.
func checkReports(t *testing.T, s *sidekick, alerts, logs uint64, why string) {
	t.Helper()
	var sum [kinds]uint64
	var messages []string
	for _, a := range s.reports() {
		var l loss
		for key, into := range map[string]*uint64{"LostAlerts": &l.count[anAlert], "LostLogs": &l.count[aLog]} {
			if err := json.Unmarshal([]byte(a.EventData[key]), into); err != nil {
				t.Errorf("%s in %+v: %v", key, a.EventData, err)
			}
		}
		sum[anAlert] += l.count[anAlert]
		sum[aLog] += l.count[aLog]
		messages = append(messages, a.Message)
		if a.Operation != schema.OperationAlertThreshold || a.Timestamp == 0 || a.UpdatedTime == "" {
			t.Errorf("report %+v", a)
		}
	}
	if sum[anAlert] != alerts || sum[aLog] != logs {
		t.Errorf("%d alerts and %d logs were reported lost, want %d and %d", sum[anAlert], sum[aLog], alerts, logs)
	}
	if all := strings.Join(messages, "; "); !strings.Contains(all, why) {
		t.Errorf("reports %q do not say %q", all, why)
	}
}

// A server that takes connections and says nothing must not hold up the end
// beyond the bound, nor lose count of what is left.
func TestHangs(t *testing.T) {
	release := make(chan struct{})
	s := newSidekick(t)
	s.answer = func(int, http.ResponseWriter, *http.Request, []string) bool {
		<-release
		return true
	}
	t.Cleanup(func() { close(release) })
	e, end := start(t, Options{URL: s.URL, URLGiven: true})
	e.Emit(alertOf("/a"))
	e.Emit(logOf("/b"))
	eventually(t, "a request", func() bool { return s.count() == 1 })
	err := end(50 * time.Millisecond)
	if err == nil || err.Error() != "emit: 1 alerts and 1 logs were not delivered" {
		t.Errorf("error %v", err)
	}
}

func TestDefaultURL(t *testing.T) {
	t.Run("nobody there", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // bound, so that nobody else answers; nobody accepts
		e, end := start(t, Options{URL: "http://" + l.Addr().String()})
		e.Emit(alertOf("/a"))
		if err := end(long); err == nil {
			t.Error("the alert is not counted as left")
		}
		if n := e.Stats().Requests; n != 1 {
			t.Errorf("%d requests, want one try", n)
		}
	})
	t.Run("somebody there", func(t *testing.T) {
		s := newSidekick(t)
		e, end := start(t, Options{URL: s.URL})
		e.Emit(alertOf("/a"))
		if err := end(long); err != nil {
			t.Error(err)
		}
		equal(t, s.resources(), []string{"/a"})
	})
}

func TestFalco(t *testing.T) {
	s := newSidekick(t)
	events := make(chan map[string]any, 100)
	s.answer = func(_ int, w http.ResponseWriter, r *http.Request, items []string) bool {
		var ev map[string]any
		if len(items) != 1 || json.Unmarshal([]byte(items[0]), &ev) != nil || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "not one Falco event", http.StatusBadRequest)
			return true
		}
		events <- ev
		return true
	}
	e, end := start(t, Options{URL: s.URL, URLGiven: true, Format: Falco})
	want := names(20)
	for _, name := range want {
		e.Emit(alertOf(name))
	}
	if err := end(long); err != nil {
		t.Fatal(err)
	}
	close(events)
	var got []string
	for ev := range events {
		if ev["rule"] != "block-it" {
			t.Errorf("rule %v", ev["rule"])
		}
		fields, _ := ev["output_fields"].(map[string]any)
		resource, _ := fields["Resource"].(string)
		got = append(got, resource)
	}
	equal(t, got, want)
}

func TestNowhere(t *testing.T) {
	e, end := start(t, Options{})
	e.Emit(alertOf("/a"))
	if err := end(long); err != nil {
		t.Error(err)
	}
	if st := e.Stats(); st != (Stats{}) {
		t.Errorf("stats %+v", st)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{
		{URL: "localhost:2801"}, {URL: "ftp://u:canary@h/"}, {URL: "http://u:canary@h:x/"}, {URL: "http:///"}, {URL: "http://h/", Format: "xml"},
	} {
		_, err := New(o)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: error %v", o.URL, err)
		}
	}
}

func TestRunEndsWithContext(t *testing.T) {
	e, err := New(Options{URL: "http://127.0.0.1:1/", URLGiven: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	e.Emit(alertOf("/a"))
	eventually(t, "a request", func() bool { return e.Stats().Requests > 0 })
	cancel()
	if err := <-ended; err != context.Canceled { //nolint:errorlint // it is that very one
		t.Error(err)
	}
	if err := e.Close(context.Background()); err == nil {
		t.Error("the alert is not counted as left")
	}
	e.Emit(alertOf("/late"))
	if st := e.Stats(); st.LostAlerts != 1 || st.PendingAlerts != 1 {
		t.Errorf("stats %+v", st)
	}
	if err := e.Run(ctx); err == nil {
		t.Error("Run could be called twice")
	}
}

func TestNoSecretsInLogs(t *testing.T) {
	log := &lockedBuffer{}
	e, end := start(t, Options{URL: "http://canary:canary@127.0.0.1:1/canary", URLGiven: true, Logger: slog.New(slog.NewTextHandler(log, nil))})
	e.Emit(alertOf("/a"))
	eventually(t, "a warning", func() bool { return strings.Contains(log.String(), "refused") })
	err := end(0)
	if strings.Contains(log.String(), "canary") || err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v, log %s", err, log)
	}
}
