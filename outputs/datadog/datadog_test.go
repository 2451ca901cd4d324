package datadog_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs/datadog"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func TestConformance(t *testing.T) {
	valid := outputtest.JSONSchema(t, "event.schema.json")
	outputtest.Run(t, outputtest.Spec{
		Kind: datadog.Kind(), Classes: outputtest.Outages(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{"apikey": outputtest.Canary, "host": base + "/"}
		},
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"status":"ok","event":{"id":1}}`)
		},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPost || r.URL.Path != "/api/v1/events" || r.Header.Get("DD-API-KEY") != outputtest.Canary || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
			}
			valid(t, body)
		},
	})
}

func send(t *testing.T, e schema.Event) (raw []byte) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	if err := outputtest.New(t, datadog.Kind(), outputtest.Settings{"apikey": "k", "host": srv.URL}).Deliver(t.Context(), []schema.Event{e}); err != nil {
		t.Fatal(err)
	}
	return raw
}

// The events of the golden files are older than Datadog takes, so they have no time.
func TestGolden(t *testing.T) {
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			raw := send(t, c.Event)
			var got struct{ Title, Text string }
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(got.Title+got.Text, "@%") {
				t.Errorf("can notify or be Markdown: %s", got.Text)
			}
			outputtest.GoldenJSON(t, c.Name+".json", raw)
		})
	}
}

// TestTime: an event that Datadog would refuse for its age is shown at the time when
// it comes.
func TestTime(t *testing.T) {
	for age, want := range map[time.Duration]bool{time.Minute: true, 16 * time.Hour: true, 18 * time.Hour: false} {
		e := outputtest.BlockedExec()
		at := time.Now().Add(-age)
		e.Alert.UpdatedTime = at.UTC().Format("2006-01-02T15:04:05.000000Z")
		var got struct {
			DateHappened int64 `json:"date_happened"`
		}
		if err := json.Unmarshal(send(t, e), &got); err != nil {
			t.Fatal(err)
		}
		if (got.DateHappened != 0) != want || want && got.DateHappened != at.Unix() {
			t.Errorf("%v: %d", age, got.DateHappened)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	for want, settings := range map[string]outputtest.Settings{
		"DATADOG_APIKEY":    {"apikey": outputtest.Canary + " x"},
		"DATADOG_HOST":      {"apikey": outputtest.Canary, "host": "api.datadoghq.eu"},
		"DATADOG_MUTUALTLS": {"apikey": outputtest.Canary, "mutualtls": "true"},
	} {
		outputtest.Refused(t, datadog.Kind(), settings, want)
	}
}
