package alertmanager_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/alertmanager"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func TestConformance(t *testing.T) {
	valid := outputtest.JSONSchema(t, "postable-alerts.schema.json")
	outputtest.Run(t, outputtest.Spec{
		Kind: alertmanager.Kind(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{
				"hostport":      strings.Replace(base, "://", "://user:"+outputtest.Canary+"@", 1) + "/" + outputtest.Canary + "/",
				"customheaders": "X-Token: " + outputtest.Canary,
				"expiresafter":  "300",
			}
		},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPost || r.URL.Path != "/"+outputtest.Canary+"/api/v2/alerts" || r.Header.Get("X-Token") != outputtest.Canary {
				t.Errorf("%s %s with %v", r.Method, r.URL.Path, r.Header)
			}
			valid(t, body)
		},
	})
}

type posted struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
}

func send(t *testing.T, e schema.Event, settings outputtest.Settings) (raw []byte, alert posted) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, _ = io.ReadAll(r.Body)
	}))
	defer srv.Close()
	o := outputtest.New(t, alertmanager.Kind(), outputtest.Settings{"hostport": srv.URL}.With(settings))
	if err := o.Deliver(t.Context(), []schema.Event{e}); err != nil {
		t.Fatal(err)
	}
	var list []posted
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 1 {
		t.Fatalf("%v: %s", err, raw)
	}
	return raw, list[0]
}

func TestGolden(t *testing.T) {
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			raw, _ := send(t, c.Event, nil)
			outputtest.GoldenJSON(t, c.Name+".json", raw)
		})
	}
}

// TestFalcoLabels has FalcoSidekick's labels for its own test event.
func TestFalcoLabels(t *testing.T) {
	e := outputtest.Falco()
	e.Falco.OutputFields["container.image[0]"] = "x"
	e.Falco.OutputFields["9lives"] = "y"
	e.Falco.OutputFields["..."] = "z"
	_, a := send(t, e, outputtest.Settings{"extralabels": "team:a:b, env:prod", "extraannotations": "runbook:https://x/y", "customseveritymap": "debug:low"})
	for name, want := range map[string]string{
		"proc_name": "falcosidekick", "proc_tty": "1234", "source": "falco", "rule": "Test rule", "eventsource": "syscalls",
		"hostname": "test-host", "tags": "example,test", "priority": "Debug", "severity": "low", "container_image_0": "x",
		"_9lives": "y", "team": "a:b", "env": "prod",
	} {
		if a.Labels[name] != want {
			t.Errorf("label %s: %q, want %q", name, a.Labels[name], want)
		}
	}
	if len(a.Labels) != 13 || a.Annotations["runbook"] != "https://x/y" || a.Annotations["info"] != e.Falco.Output {
		t.Errorf("%+v", a)
	}
}

// TestDrops: Falco's events about dropped events, whose counts would each be an
// alert of their own.
func TestDrops(t *testing.T) {
	for count, want := range map[string][2]string{
		"0": {"0", "Warning"}, "1": {"1", "Critical"}, "2": {">1", "Warning"}, "11": {">10", "Warning"},
		"101": {">100", "Critical"}, "1000000": {">10000", "Critical"}, "many": {"", "Debug"},
	} {
		e := outputtest.Falco()
		e.Falco.OutputFields = map[string]any{"n_drops": count, "n_evts": "12345", "n_drops_buffer": json.Number("0")}
		if count == "many" {
			delete(e.Falco.OutputFields, "n_drops_buffer")
		}
		_, a := send(t, e, nil)
		if a.Labels["n_drops"] != want[0] || a.Labels["priority"] != want[1] || a.Labels["n_evts"] != "" {
			t.Errorf("%s: %v", count, a.Labels)
		}
	}
}

// TestSameAlert: an event that happens again is the same alert, in whichever
// restart of the container.
func TestSameAlert(t *testing.T) {
	_, first := send(t, outputtest.BlockedExec(), nil)
	e := outputtest.BlockedExec()
	e.Alert.PID, e.Alert.HostPID, e.Alert.Timestamp, e.Alert.UpdatedTime = 7, 7, 1772600999, "2026-03-04T05:16:07.123456Z"
	e.Alert.PodName, e.Alert.ContainerID, e.Alert.HostName, e.Alert.Resource = "web-2", "f00", "other", "/usr/bin/curl x"
	_, second := send(t, e, nil)
	for name := range second.Labels {
		if first.Labels[name] != second.Labels[name] {
			t.Errorf("label %s: %q and %q", name, first.Labels[name], second.Labels[name])
		}
	}
	if first.Annotations["command"] == second.Annotations["command"] {
		t.Error("the annotations are those of the first event")
	}
}

// TestTimes: an alert is never over when it is delivered, nor does it begin
// after that.
func TestTimes(t *testing.T) {
	now := time.Now()
	_, a := send(t, outputtest.BlockedExec(), outputtest.Settings{"expiresafter": "60"})
	if a.EndsAt.Before(now.Add(30*time.Second)) || !a.StartsAt.Equal(time.Date(2026, 3, 4, 5, 6, 7, 123456000, time.UTC)) {
		t.Errorf("an old event: %v to %v", a.StartsAt, a.EndsAt)
	}
	e := outputtest.Falco()
	e.Falco.Time = now.Add(24 * time.Hour)
	if _, a := send(t, e, nil); !a.StartsAt.IsZero() || !a.EndsAt.IsZero() {
		t.Errorf("an event of tomorrow: %v to %v", a.StartsAt, a.EndsAt)
	}
}

// member counts requests and answers with a status that can be changed.
func member(t *testing.T) (srv *httptest.Server, status, count *atomic.Int32) {
	status, count = new(atomic.Int32), new(atomic.Int32)
	status.Store(200)
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		count.Add(1)
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(srv.Close)
	return srv, status, count
}

func TestSeveralHosts(t *testing.T) {
	a, statusA, countA := member(t)
	b, statusB, countB := member(t)
	o := outputtest.New(t, alertmanager.Kind(), outputtest.Settings{"hostport": a.URL + ", " + b.URL + "/,"})
	deliver := func() error { return o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()}) }
	expect := func(what string, wantA, wantB int32) {
		t.Helper()
		if countA.Load() != wantA || countB.Load() != wantB {
			t.Errorf("%s: %d and %d requests, want %d and %d", what, countA.Load(), countB.Load(), wantA, wantB)
		}
	}
	if err := deliver(); err != nil {
		t.Fatal(err)
	}
	expect("both work", 1, 1)

	statusB.Store(503)
	for range 2 {
		if err := deliver(); err != nil {
			t.Fatal(err)
		}
	}
	expect("one is down, then rests", 3, 2)

	statusA.Store(400)
	if err := deliver(); outputtest.Class(err) != outputs.Permanent {
		t.Errorf("the only one awake refuses: %v", err)
	}
	statusA.Store(503)
	if err := deliver(); outputtest.Class(err) != outputs.Transient {
		t.Errorf("all are down: %v", err)
	}

	o = outputtest.New(t, alertmanager.Kind(), outputtest.Settings{"hostport": a.URL + "," + b.URL})
	for _, tt := range []struct {
		a, b int32
		want outputs.Class
	}{
		{400, 400, outputs.Permanent}, {400, 503, outputs.Transient}, {429, 400, outputs.RateLimited}, {500, 429, outputs.Transient},
	} {
		statusA.Store(tt.a)
		statusB.Store(tt.b)
		if err := deliver(); err == nil || outputtest.Class(err) != tt.want {
			t.Errorf("%d and %d: %v, want %v", tt.a, tt.b, err, tt.want)
		}
	}
	statusB.Store(200)
	if err := deliver(); err != nil {
		t.Errorf("after both were down one takes it: %v", err)
	}
}

func TestRefusedSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string
	}{
		"no scheme":   {outputtest.Settings{"hostport": outputtest.Canary + ":9093"}, "ALERTMANAGER_HOSTPORT"},
		"second":      {outputtest.Settings{"hostport": "http://a:1,ftp://" + outputtest.Canary}, "ALERTMANAGER_HOSTPORT"},
		"nothing":     {outputtest.Settings{"hostport": " , "}, "ALERTMANAGER_HOSTPORT"},
		"endpoint":    {outputtest.Settings{"endpoint": "api/v2/alerts"}, "ALERTMANAGER_ENDPOINT"},
		"expiry":      {outputtest.Settings{"expiresafter": "5m"}, "ALERTMANAGER_EXPIRESAFTER"},
		"long expiry": {outputtest.Settings{"expiresafter": "99999999"}, "ALERTMANAGER_EXPIRESAFTER"},
		"label":       {outputtest.Settings{"extralabels": "my-label:x"}, "ALERTMANAGER_EXTRALABELS"},
		"no value":    {outputtest.Settings{"extraannotations": "a"}, "ALERTMANAGER_EXTRAANNOTATIONS"},
		"severity":    {outputtest.Settings{"customseveritymap": "warn:x"}, "ALERTMANAGER_CUSTOMSEVERITYMAP"},
		"drops":       {outputtest.Settings{"dropeventdefaultpriority": "high"}, "ALERTMANAGER_DROPEVENTDEFAULTPRIORITY"},
		"threshold":   {outputtest.Settings{"dropeventthresholds": "x:critical"}, "ALERTMANAGER_DROPEVENTTHRESHOLDS"},
		"header":      {outputtest.Settings{"customheaders": outputtest.Canary}, "ALERTMANAGER_CUSTOMHEADERS"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.settings["hostport"] == "" {
				tt.settings["hostport"] = "http://localhost:9093"
			}
			outputtest.Refused(t, alertmanager.Kind(), tt.settings, tt.want)
		})
	}
}
