package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/enrich"
)

const (
	falcoEvent = `{"output":"o","priority":"Warning","rule":"r","time":"2026-01-02T03:04:05Z","output_fields":{"proc.tty":1234},"tags":["b","a"]}`
	alertEvent = `{"Type":"MatchedPolicy","PolicyName":"p","Operation":"File","Action":"Block","Severity":"5"}`
	logEvent   = `{"Type":"ContainerLog","Operation":"Process","Resource":"/bin/ls"}`
)

// store is a Store in memory. By default it takes everything.
type store struct {
	mu     sync.Mutex
	events []schema.Event
	once   []bool
	refuse func(events []schema.Event) error
	ready  error
}

func (s *store) Publish(_ context.Context, packed []schema.Packed, once bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := make([]schema.Event, len(packed))
	var err error
	for i := range packed {
		if events[i], err = packed[i].Event(); err != nil {
			return err
		}
	}
	if s.refuse != nil {
		err = s.refuse(events)
	}
	var some partial
	if err != nil && !errors.As(err, &some) {
		return err
	}
	for i, e := range events {
		if some[i] == nil {
			s.events, s.once = append(s.events, e), append(s.once, once)
		}
	}
	return err
}

func (s *store) Ready(context.Context) error { return s.ready }

type partial map[int]error

func (p partial) Error() string          { return fmt.Sprintf("%d events not stored", len(p)) }
func (p partial) Refused() map[int]error { return p }

type never struct{ error }

func (never) Permanent() bool { return true }

func serve(t *testing.T, s *store, custom map[string]string) *httptest.Server {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	enricher, err := enrich.New(enrich.Options{CustomFields: custom})
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(t, Options{Store: s, Enricher: enricher, Metrics: prometheus.NewRegistry(), Log: log}, nil)
	server.Start()
	return server
}

func post(t *testing.T, url string, body io.Reader, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text)), resp.Header
}

func packed(t *testing.T, encoding, body string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zstd":
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// Who asks for no more than needed gets verdicts only where one of them is bad.
func TestMinimalAnswer(t *testing.T) {
	for _, c := range []struct{ name, prefer, body, want, applied string }{
		{"all taken", "return=minimal", "[" + alertEvent + "," + logEvent + "]", "", "return=minimal"},
		{"among other preferences", "wait=10, Return=minimal", "[" + alertEvent + "," + logEvent + "]", "", "return=minimal"},
		{"another preference", "return=representation", "[" + alertEvent + "," + logEvent + "]", `{"accepted":2,"rejected":0,"results":[{"status":"accepted"},{"status":"accepted"}]}`, ""},
		{"one refused", "return=minimal", "[" + alertEvent + ",{}]", `{"accepted":1,"rejected":1,"results":[{"status":"accepted"},{"status":"rejected",`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text, header := post(t, serve(t, &store{}, nil).URL, strings.NewReader(c.body), "Prefer", c.prefer)
			if applied := header.Get("Preference-Applied"); status != http.StatusOK || applied != c.applied {
				t.Errorf("status %d, Preference-Applied %q, want %q", status, applied, c.applied)
			}
			if text != c.want && (c.want == "" || !strings.HasPrefix(text, c.want)) {
				t.Errorf("answer %s, want %s", text, c.want)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	const several = `{"accepted":2,"rejected":0,"results":[{"status":"accepted"},{"status":"accepted"}]}`
	for _, c := range []struct {
		name, contentType, body, want string
		kinds                         []schema.Kind
	}{
		{"falco", "", falcoEvent, "", []schema.Kind{schema.KindFalco}},
		{"alert", "application/json", alertEvent, "", []schema.Kind{schema.KindAlert}},
		{"log in the other spelling", "", `{"type":"ContainerLog","operation":"File"}`, "", []schema.Kind{schema.KindLog}},
		{"over several lines", "", "\n{\n\t\"Type\":\"ContainerLog\",\n\t\"Operation\":\"File\"\n}\n", "", []schema.Kind{schema.KindLog}},
		{"array", "", "[" + alertEvent + " ,\n" + logEvent + "]", several, []schema.Kind{schema.KindAlert, schema.KindLog}},
		{"array of one", "", "[" + logEvent + "]", "", []schema.Kind{schema.KindLog}},
		{"lines", "application/x-ndjson; charset=utf-8", alertEvent + "\r\n\n" + falcoEvent + "\n", several, []schema.Kind{schema.KindAlert, schema.KindFalco}},
		{"lines of any type", "text/plain", alertEvent + "\n" + logEvent, several, []schema.Kind{schema.KindAlert, schema.KindLog}},
		{"one line", "application/x-ndjson", logEvent + "\n", "", []schema.Kind{schema.KindLog}},
	} {
		for _, encoding := range []string{"", "gzip", "zstd"} {
			t.Run(c.name+" "+encoding, func(t *testing.T) {
				s := &store{}
				url := serve(t, s, nil).URL
				header := []string{"Content-Type", c.contentType}
				body := io.Reader(strings.NewReader(c.body))
				if encoding != "" {
					header, body = append(header, "Content-Encoding", encoding), packed(t, encoding, c.body)
				}
				for range 2 { // the second time with used decompressors
					s.events = nil
					status, text, _ := post(t, url, body, header...)
					if status != http.StatusOK || text != c.want {
						t.Fatalf("%d %s", status, text)
					}
					var kinds []schema.Kind
					for _, e := range s.events {
						kinds = append(kinds, e.Kind)
						if e.ID == "" || e.Received.IsZero() {
							t.Errorf("event without ID or time: %+v", e)
						}
					}
					if !slices.Equal(kinds, c.kinds) || slices.Contains(s.once, true) {
						t.Errorf("stored %v, once %v", kinds, s.once)
					}
					body = strings.NewReader(c.body)
					if encoding != "" {
						body = packed(t, encoding, c.body)
					}
				}
			})
		}
	}
}

func TestRefused(t *testing.T) {
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	big := `{"Type":"ContainerLog","Operation":"File","Data":"` + strings.Repeat("x", schema.MaxEventBytes) + `"}`
	for _, c := range []struct {
		name, body string
		header     []string
		status     int
		want       []string
	}{
		{"nothing", "", nil, 400, []string{`"error":"body has no event"`}},
		{"empty array", "[]", nil, 400, []string{"no event"}},
		{"no JSON", "hello", nil, 400, []string{`"item":0`, "not JSON"}},
		{"neither kind", `{"a":1}`, nil, 400, []string{"neither a KubeArmor event"}},
		{"wrong type", `{"Type":"ContainerLog","Operation":"File","PID":"x"}`, nil, 400, []string{`"field":"PID"`, `"item":0`}},
		{"falco without rule", `{"output":"o","priority":"Warning","time":"2026-01-02T03:04:05Z","output_fields":{"a":1}}`, nil, 400, []string{`"field":"rule"`}},
		{"deep", `{"Type":"ContainerLog","Operation":"File","x":` + deep + `}`, nil, 400, []string{`"error"`}},
		{"deep array", deep, nil, 400, []string{`"item":0`}},
		{"deeper array", strings.Repeat("[", 1_000_000), nil, 400, []string{`"error"`}},
		{"array with an error", "[" + logEvent + `, {"Type": ]`, nil, 400, []string{`"item":1`}},
		{"text after the array", "[" + logEvent + "] x", nil, 400, []string{"text after the array"}},
		{"array without end", "[" + logEvent, nil, 400, []string{`"error"`}},
		{"all bad", "[{},{}]", nil, 400, []string{`"item":0`, `"rejected":2`, `"results"`}},
		{"event too large", big, nil, 413, []string{"event is too large"}},
		{"body too large", strings.Repeat(" ", MaxBodyBytes+1), nil, 413, []string{"body has more than"}},
		{"too many", strings.Repeat("{}\n", MaxEvents+1), []string{"Content-Type", "application/x-ndjson"}, 413, []string{"more than 10000 events"}},
		{"too many in an array", "[" + strings.Repeat("{},", MaxEvents) + "{}]", nil, 413, []string{"more than 10000 events"}},
		{"encoding", "x", []string{"Content-Encoding", "br"}, 415, []string{`"br\" is not supported`}},
		{"no gzip", "xxxxxxxxxxxxxxxxxxxxxxxx", []string{"Content-Encoding", "gzip"}, 400, []string{"reading the body"}},
		{"no zstd", "xxxxxxxxxxxxxxxxxxxxxxxx", []string{"Content-Encoding", "zstd"}, 400, []string{"reading the body"}},
		{"key too long", logEvent, []string{"Idempotency-Key", strings.Repeat("k", maxKeyBytes+1)}, 400, []string{"Idempotency-Key"}},
		{"key with a space", logEvent, []string{"Idempotency-Key", "a b"}, 400, []string{"Idempotency-Key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &store{}
			status, text, header := post(t, serve(t, s, nil).URL, strings.NewReader(c.body), c.header...)
			if status != c.status || header.Get("Content-Type") != "application/json" || len(s.events) != 0 {
				t.Fatalf("%d %s, %d stored", status, text, len(s.events))
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%s is not in %s", want, text)
				}
			}
		})
	}
}

func TestBadLineAmongGoodOnes(t *testing.T) {
	s := &store{}
	body := logEvent + "\n{\"Type\":\"ContainerLog\"\n" + alertEvent + "\n"
	status, text, _ := post(t, serve(t, s, nil).URL, strings.NewReader(body), "Content-Type", "application/x-ndjson")
	var got summary
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if status != 200 || got.Accepted != 2 || got.Rejected != 1 || len(got.Results) != 3 || got.Results[1].Status != "rejected" || got.Results[1].Error == "" {
		t.Errorf("%d %s", status, text)
	}
	if len(s.events) != 2 || s.events[0].Kind != schema.KindLog || s.events[1].Kind != schema.KindAlert {
		t.Errorf("stored %v", s.events)
	}
}

func TestCompressedBadly(t *testing.T) {
	for _, encoding := range []string{"gzip", "zstd"} {
		url := serve(t, &store{}, nil).URL
		whole := packed(t, encoding, strings.Repeat(logEvent+"\n", 1000)).Bytes()
		if status, text, _ := post(t, url, bytes.NewReader(whole[:len(whole)/2]), "Content-Encoding", encoding); status != 400 {
			t.Errorf("%s, truncated: %d %s", encoding, status, text)
		}
		bomb := packed(t, encoding, strings.Repeat("\x00", 64<<20))
		if status, text, _ := post(t, url, bomb, "Content-Encoding", encoding); status != 413 {
			t.Errorf("%s, bomb: %d %s", encoding, status, text)
		}
		if status, _, _ := post(t, url, packed(t, encoding, logEvent), "Content-Encoding", encoding); status != 200 {
			t.Errorf("%s, afterwards: %d", encoding, status)
		}
	}
}

func TestChunked(t *testing.T) {
	s := &store{}
	url := serve(t, s, nil).URL
	lines := strings.Repeat(logEvent+"\n", 5000) // beyond what is read without a place for large bodies
	status, text, _ := post(t, url, io.MultiReader(strings.NewReader(lines)), "Content-Type", "application/x-ndjson")
	if status != 200 || len(s.events) != 5000 {
		t.Errorf("%d %.100s, %d stored", status, text, len(s.events))
	}
	endless := io.LimitReader(zeros{}, MaxBodyBytes*4)
	if status, text, _ := post(t, url, endless); status != 413 {
		t.Errorf("endless: %d %s", status, text)
	}
}

// zeros reads as spaces, and the client cannot know how many.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func TestIdempotencyKey(t *testing.T) {
	s := &store{}
	body := logEvent + "\nbad\n" + alertEvent
	post(t, serve(t, s, nil).URL, strings.NewReader(body), "Content-Type", "application/x-ndjson", "Idempotency-Key", "0b5c")
	if len(s.events) != 2 || s.events[0].ID != "0b5c-0" || s.events[1].ID != "0b5c-2" || !s.once[0] {
		t.Errorf("stored %+v, once %v", s.events, s.once)
	}
}

func TestEnrichment(t *testing.T) {
	s := &store{}
	url := serve(t, s, map[string]string{"env": "prod", "proc.tty": "hidden"}).URL
	post(t, url, strings.NewReader(falcoEvent))
	post(t, url, strings.NewReader(alertEvent))
	post(t, url, strings.NewReader(`{"Type":"ContainerLog","Operation":"File","EventData":{"env":"theirs","b":"c"}}`))
	if status, text, _ := post(t, url, strings.NewReader(`{"output":"o","priority":"Warning","rule":"r","time":"2026-01-02T03:04:05Z"}`)); status != 200 {
		t.Errorf("without output fields: %d %s", status, text)
	}
	f := s.events[0].Falco
	if f.UUID == "" || f.Source != "syscalls" || f.OutputFields["env"] != "prod" || f.OutputFields["proc.tty"] != "hidden" || !slices.Equal(f.Tags, []string{"a", "b"}) {
		t.Errorf("falco %+v", f)
	}
	if d := s.events[1].Alert.EventData; d["env"] != "prod" {
		t.Errorf("alert %v", d)
	}
	if d := s.events[2].Log.EventData; d["env"] != "prod" || d["b"] != "c" {
		t.Errorf("log %v", d)
	}
}

func TestTestEvent(t *testing.T) {
	s := &store{}
	status, text, _ := post(t, serve(t, s, nil).URL+"/test", strings.NewReader("ignored"))
	if status != 200 || text != "" || len(s.events) != 1 {
		t.Fatalf("%d %s", status, text)
	}
	if f := s.events[0].Falco; f.Rule != "Test rule" || f.Source != "internal" || f.Priority != schema.PriorityDebug || len(f.OutputFields) == 0 {
		t.Errorf("event %+v", f)
	}
}

func TestStoreRefuses(t *testing.T) {
	full := errors.New("queue is full")
	only := func(kind schema.Kind, err error) func([]schema.Event) error {
		return func(events []schema.Event) error {
			p := partial{}
			for i, e := range events {
				if e.Kind == kind {
					p[i] = err
				}
			}
			return p
		}
	}
	for _, c := range []struct {
		name, body string
		refuse     func([]schema.Event) error
		status     int
		want       string
	}{
		{"everything", logEvent, func([]schema.Event) error { return full }, 503, `{"error":"queue is full","item":0}`},
		{"the one", logEvent, only(schema.KindLog, full), 503, "queue is full"},
		{"alerts", "[" + alertEvent + "," + logEvent + "]", only(schema.KindAlert, full), 503, `"item":0`},
		{"all logs", "[" + logEvent + "," + logEvent + "]", only(schema.KindLog, full), 503, `"rejected":2`},
		{"logs beside an alert", "[" + logEvent + "," + alertEvent + "]", only(schema.KindLog, full), 200, `{"accepted":1,"rejected":1,"results":[{"status":"rejected","error":"queue is full"},{"status":"accepted"}]}`},
		{"for good", logEvent, only(schema.KindLog, never{errors.New("too large as stored")}), 413, "too large as stored"},
		{"one for good", "[" + logEvent + "," + alertEvent + "]", only(schema.KindLog, never{errors.New("too large")}), 200, `"accepted":1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text, header := post(t, serve(t, &store{refuse: c.refuse}, nil).URL, strings.NewReader(c.body))
			if status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("%d %s", status, text)
			}
			if (status == 503) != (header.Get("Retry-After") != "") {
				t.Errorf("Retry-After is %q", header.Get("Retry-After"))
			}
		})
	}
}

func TestPanic(t *testing.T) {
	s := &store{refuse: func([]schema.Event) error { panic("CANARY") }}
	url := serve(t, s, nil).URL
	status, text, _ := post(t, url, strings.NewReader(logEvent))
	if status != 500 || strings.Contains(text, "CANARY") {
		t.Errorf("%d %s", status, text)
	}
	if !strings.Contains(get(t, url+"/metrics"), "sidearmor_panics_total 1") {
		t.Error("it was not counted")
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("Content-Type"), body)
}

func TestProbes(t *testing.T) {
	s := &store{}
	url := serve(t, s, nil).URL
	for path, want := range map[string]string{
		"/ping":    "200 text/plain; charset=utf-8 pong\n",
		"/healthz": `200 application/json {"status": "ok"}`,
		"/readyz":  `200 application/json {"status": "ok"}`,
		"/":        "405 application/json {\"error\":\"use POST\"}\n",
		"/test":    "405 application/json {\"error\":\"use POST\"}\n",
		"/debug":   "404 application/json {\"error\":\"no such path; events are posted to /\"}\n",
	} {
		if got := get(t, url+path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	s.ready = errors.Join(errors.New("one"), errors.New("two"))
	if got := get(t, url+"/readyz"); got != `503 application/json {"reasons":["one","two"],"status":"unavailable"}`+"\n" {
		t.Errorf("not ready: %q", got)
	}
}

func TestMetrics(t *testing.T) {
	url := serve(t, &store{}, nil).URL
	post(t, url, strings.NewReader(`{"Type":"MatchedPolicy","Operation":"Strange","Action":"Odd"}`))
	post(t, url, strings.NewReader(alertEvent+"\n"+logEvent+"\nbad"), "Sidearmor-Engine", "ptrace")
	post(t, url, strings.NewReader("x"), "Content-Encoding", "br", "Sidearmor-Engine", "ptrace")
	for i := range maxSeries + 5 {
		body := strings.Replace(falcoEvent, `"r"`, fmt.Sprintf(`"rule %d%s"`, i, strings.Repeat("ä", 100)), 1)
		if status, text, _ := post(t, url, strings.NewReader(body)); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
	}
	got := get(t, url+"/metrics")
	for _, want := range []string{
		`falcosecurity_falcosidekick_inputs_total{source="requests",status="accepted"} 1008`,
		`falcosecurity_falcosidekick_inputs_total{source="requests",status="rejected"} 2`,
		`sidearmor_kubearmor_events_total{action="Block",kind="alert",operation="File"} 1`,
		`sidearmor_kubearmor_events_total{action="other",kind="alert",operation="other"} 1`,
		`sidearmor_kubearmor_events_total{action="",kind="log",operation="Process"} 1`,
		`sidearmor_tracer_events_total{engine="ptrace"} 2`,
		`sidearmor_rejected_events_total{reason="encoding"} 1`,
		`sidearmor_rejected_events_total{reason="malformed"} 1`,
		`falcosecurity_falcosidekick_falco_events_total{hostname="other",k8s_ns_name="other",k8s_pod_name="other",priority="4",priority_raw="warning",rule="other",source="other"} 5`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	if n := strings.Count(got, "falcosecurity_falcosidekick_falco_events_total{"); n != maxSeries+1 {
		t.Errorf("%d series", n)
	}
}

func TestDebugLogShowsNoArguments(t *testing.T) {
	var log bytes.Buffer
	h, _ := served(t, Options{
		Store: &store{}, Metrics: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, nil)
	for _, body := range []string{
		`{"Type":"ContainerLog","Operation":"Process","Resource":"/bin/mysql -pCANARY","Data":"CANARY","Source":"CANARY"}`,
		`{"Type":"ContainerLog","Operation":"CANARY`,
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
	}
	if log.Len() == 0 || strings.Contains(log.String(), "CANARY") {
		t.Errorf("log: %s", &log)
	}
}

// A client that sends nothing more keeps its connection only for so long.
func TestSlowClient(t *testing.T) {
	server := newServer(t, Options{Store: &store{}, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)}, nil)
	if server.Config.ReadHeaderTimeout == 0 || server.Config.ReadTimeout == 0 || server.Config.WriteTimeout == 0 || server.Config.IdleTimeout == 0 {
		t.Fatal("a timeout is missing")
	}
	server.Config.ReadHeaderTimeout, server.Config.ReadTimeout = 100*time.Millisecond, 200*time.Millisecond
	server.Start()
	for sent, want := range map[string]string{
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"Type\":": "HTTP/1.1 408 ",
		"POST / HTTP/1.1\r\nHost: x\r\n":                                       "",
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn) // ends when the server closes
		if err != nil || !strings.HasPrefix(string(got), want) || want == "" && len(got) > 0 && !bytes.HasPrefix(got, []byte("HTTP/1.1 408")) {
			t.Errorf("%q: %q, %v", sent, got, err)
		}
		_ = conn.Close()
	}
}

func FuzzSplit(f *testing.F) {
	for _, seed := range []string{falcoEvent, "[" + alertEvent + "," + logEvent + "]", logEvent + "\n" + alertEvent, "[[[", "[1,2", "{\n}\n{\n}", "\ufeff[]", "null\n\n1"} {
		f.Add("application/json", []byte(seed))
		f.Add("application/x-ndjson", []byte(seed))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		items, err := split(contentType, body)
		if err != nil {
			if len(items) > 0 {
				t.Fatal("items beside an error")
			}
			return
		}
		if len(items) == 0 || len(items) > MaxEvents {
			t.Fatalf("%d items", len(items))
		}
		rest := body
		for _, item := range items {
			// Items are parts of the body, one after another.
			at := bytes.Index(rest, item)
			if at < 0 || len(bytes.TrimSpace(item)) == 0 {
				t.Fatalf("item %q of %q", item, body)
			}
			rest = rest[at+len(item):]
			if e, err := decode(item, nil); err == nil {
				e.ID, e.Received = "x", time.Unix(0, 0).UTC()
				if _, err := e.MarshalJSON(); err != nil {
					t.Fatalf("taken but not storable: %v", err)
				}
			}
		}
	})
}

type degraded struct{ error }

func (degraded) Degraded() bool { return true }

func TestReadyButDegraded(t *testing.T) {
	full, logs := errors.New("stream ALERTS is full"), degraded{errors.New("stream LOGS is full")}
	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{logs, http.StatusOK, `{"reasons":["stream LOGS is full"],"status":"degraded"}`},
		{errors.Join(full, logs), http.StatusServiceUnavailable, `{"reasons":["stream ALERTS is full","stream LOGS is full"],"status":"unavailable"}`},
	} {
		w := httptest.NewRecorder()
		h := &handler{store: &store{ready: c.err}}
		h.readyz(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		if w.Code != c.status || strings.TrimSpace(w.Body.String()) != c.want {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
	}
}
