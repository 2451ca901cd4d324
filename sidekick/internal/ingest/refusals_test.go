package ingest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What is refused is told with reason and source, and counted, whatever is wrong.
func TestRefusalsAreTold(t *testing.T) {
	server, _, log := guardedServer(t, nil, func(*Options) {})
	post(t, server.URL, strings.NewReader(strings.Replace(falcoEvent, "Warning", "Warn", 1)))
	post(t, server.URL, strings.NewReader("["+strings.Repeat(`{"Type":1},`, 6)+alertEvent+"]"))
	post(t, server.URL+"/falco", strings.NewReader(falcoEvent))
	post(t, server.URL+"/healthz/", strings.NewReader(falcoEvent))
	post(t, server.URL, strings.NewReader(`{"x":"`+strings.Repeat("x", 1<<20)+`"}`))
	post(t, server.URL, strings.NewReader("x"), "Content-Encoding", strings.Repeat("br", 1000))
	for _, method := range []string{http.MethodPut, http.MethodGet, http.MethodHead} {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %s", method, resp.Status)
		}
	}
	get(t, server.URL+"/favicon.ico") // has no event
	page, text := get(t, server.URL+"/metrics"), log.String()
	for reason, want := range map[string]struct {
		n    int
		told string
	}{
		"malformed": {7, "is not known: use one of"},
		"path":      {2, "/falco: no such path; events are posted to /"},
		"too_large": {1, "event is too large"},
		"encoding":  {1, "…"},
		"method":    {1, "PUT /: events are posted"},
	} {
		if counted := fmt.Sprintf(`sidearmor_rejected_events_total{reason=%q} %d`, reason, want.n); !strings.Contains(page, counted+"\n") {
			t.Errorf("%s is not in\n%s", counted, page)
		}
		line := ""
		for l := range strings.SplitSeq(text, "\n") {
			if strings.Contains(l, "reason="+reason+" ") {
				line += l + "\n"
			}
		}
		if strings.Count(line, "\n") != 1 || !strings.Contains(line, "level=WARN") || !strings.Contains(line, want.told) ||
			!strings.Contains(line, "last_from=127.0.0.1:") || len(line) > 700 {
			t.Errorf("%s is told so: %q", reason, line)
		}
	}
	if want := `falcosecurity_falcosidekick_inputs_total{source="requests",status="rejected"} 12`; !strings.Contains(page, want) {
		t.Errorf("%s is not in\n%s", want, page)
	}
}

// After a minute the next one is told with the number of those before.
func TestRefusalsAreToldAgain(t *testing.T) {
	var f refusals
	start := time.Unix(1000, 0)
	for i, c := range []struct {
		reason   string
		n, after int
		want     int
	}{
		{"malformed", 3, 0, 3},
		{"malformed", 5, 59, 0},
		{"path", 1, 59, 1},
		{"malformed", 1, 60, 6},
		{"malformed", 1, 61, 0},
		{"unauthorized", 1, 61, 0}, // told elsewhere
	} {
		if got := f.note(c.reason, c.n, start.Add(time.Duration(c.after)*time.Second)); got != c.want {
			t.Errorf("%d: %d are told, want %d", i, got, c.want)
		}
	}
}
