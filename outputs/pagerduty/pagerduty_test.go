package pagerduty_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/pagerduty"
	"github.com/sidearmor/sidearmor/schema"
)

// maxBody is PagerDuty's limit.
const maxBody = 512_000

func TestConformance(t *testing.T) {
	valid := outputtest.JSONSchema(t, "enqueue.schema.json")
	outputtest.Run(t, outputtest.Spec{
		Kind: pagerduty.Kind(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{"routingkey": outputtest.Canary, "address": base + "/v2/enqueue"}
		},
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"status":"success","message":"Event processed","dedup_key":"x"}`)
		},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s with Content-Type %q", r.Method, r.Header.Get("Content-Type"))
			}
			valid(t, body)
			if len(body) > maxBody {
				t.Errorf("an event of %d bytes", len(body))
			}
		},
	})
}

type sent struct {
	DedupKey string `json:"dedup_key"`
	Payload  struct{ Severity string }
}

func send(t *testing.T, e schema.Event) (raw []byte, decoded sent) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	o := outputtest.New(t, pagerduty.Kind(), outputtest.Settings{"routingkey": "0123456789abcdef0123456789abcdef", "address": srv.URL})
	if err := o.Deliver(t.Context(), []schema.Event{e}); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	return raw, decoded
}

func TestGolden(t *testing.T) {
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			raw, _ := send(t, c.Event)
			outputtest.GoldenJSON(t, c.Name+".json", raw)
		})
	}
}

// TestDedupKey: what is the same incident to whoever is on call has the same key.
func TestDedupKey(t *testing.T) {
	_, base := send(t, outputtest.BlockedExec())
	for name, tt := range map[string]struct {
		change func(*schema.Alert)
		same   bool
	}{
		"again":              {func(a *schema.Alert) { a.Timestamp++; a.PID++; a.UpdatedTime = "2026-03-04T05:07:07.123456Z" }, true},
		"other arguments":    {func(a *schema.Alert) { a.Resource += " -v" }, true},
		"restarted pod":      {func(a *schema.Alert) { a.PodName += "2"; a.ContainerID = "x" + a.ContainerID; a.HostName = "other" }, true},
		"other policy":       {func(a *schema.Alert) { a.PolicyName += "2" }, false},
		"other operation":    {func(a *schema.Alert) { a.Operation = schema.OperationFile }, false},
		"other process":      {func(a *schema.Alert) { a.ProcessName = "/usr/bin/wget" }, false},
		"other container":    {func(a *schema.Alert) { a.ContainerName = "sidecar" }, false},
		"other namespace":    {func(a *schema.Alert) { a.NamespaceName = "dev" }, false},
		"other cluster":      {func(a *schema.Alert) { a.ClusterName = "dev" }, false},
		"parts run together": {func(a *schema.Alert) { a.ClusterName, a.NamespaceName = "prods", "hop" }, false},
	} {
		e := outputtest.BlockedExec()
		tt.change(e.Alert)
		if _, got := send(t, e); (got.DedupKey == base.DedupKey) != tt.same {
			t.Errorf("%s: key %s, first %s", name, got.DedupKey, base.DedupKey)
		}
	}
	e := outputtest.Falco()
	_, first := send(t, e)
	_, again := send(t, e)
	e.ID = "f-2"
	if _, second := send(t, e); first != again || first.DedupKey == second.DedupKey {
		t.Errorf("Falco events: %v, repeated %v, another %v", first, again, second)
	}
}

func TestSeverity(t *testing.T) {
	for priority, want := range map[schema.Priority]string{
		schema.PriorityEmergency: "critical", schema.PriorityAlert: "critical", schema.PriorityCritical: "critical",
		schema.PriorityError: "error", schema.PriorityWarning: "warning", schema.PriorityNotice: "info",
		schema.PriorityInformational: "info", schema.PriorityDebug: "info",
	} {
		e := outputtest.Falco()
		e.Falco.Priority = priority
		if _, got := send(t, e); got.Payload.Severity != want {
			t.Errorf("%v: %s, want %s", priority, got.Payload.Severity, want)
		}
	}
}

// TestReasons: PagerDuty's reasons reach the error, the key and foreign text do
// not.
func TestReasons(t *testing.T) {
	for answer, want := range map[string]string{
		`{"status":"invalid event","message":"Event object is invalid","errors":["'routing_key' is missing or blank"]}`:            "pagerduty answered 400 Bad Request: invalid event; Event object is invalid; 'routing_key' is missing or blank",
		`{"status":"invalid event","message":"no ` + outputtest.Canary + `","errors":["see https://x/` + outputtest.Canary + `"]}`: "pagerduty answered 400 Bad Request: invalid event",
		`Bad Request`: "pagerduty answered 400 Bad Request",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, answer)
		}))
		o := outputtest.New(t, pagerduty.Kind(), outputtest.Settings{"routingkey": outputtest.Canary, "address": srv.URL})
		err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()})
		srv.Close()
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestSettings(t *testing.T) {
	for region, fails := range map[string]bool{"us": false, "EU": false, "": false, "asia": true} {
		k := pagerduty.Kind()
		given := outputtest.Settings{"routingkey": outputtest.Canary}
		if region != "" {
			given["region"] = region
		}
		_, err := k.New(outputtest.Values(t, k, given))
		if (err != nil) != fails || (fails && !strings.Contains(err.Error(), "PAGERDUTY_REGION")) {
			t.Errorf("region %q: %v", region, err)
		}
	}
	for want, given := range map[string]outputtest.Settings{
		"PAGERDUTY_ROUTINGKEY": {"routingkey": outputtest.Canary + " x"},
		"PAGERDUTY_ADDRESS":    {"routingkey": outputtest.Canary, "address": "/" + outputtest.Canary},
	} {
		outputtest.Refused(t, pagerduty.Kind(), given, want)
	}
}
