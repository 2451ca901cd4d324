package datadog_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs/datadog"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
)

// spec is Datadog as the tests see it.
func spec(t testing.TB) outputtest.Spec {
	valid := outputtest.JSONSchema(t, "event.schema.json")
	return outputtest.Spec{
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
			var got struct{ Title, Text string }
			if err := json.Unmarshal(body, &got); err != nil || strings.ContainsAny(got.Title+got.Text, "@%") {
				t.Errorf("%v, can notify or be Markdown: %.300s", err, got.Text)
			}
		},
	}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec(t)) }

// The events of the golden files are older than Datadog takes, so they have no time.
func TestGolden(t *testing.T) { spec(t).Golden(t) }

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
		if err := json.Unmarshal(spec(t).SentEvent(t, e), &got); err != nil {
			t.Fatal(err)
		}
		if (got.DateHappened != 0) != want || want && got.DateHappened != at.Unix() {
			t.Errorf("%v: %d", age, got.DateHappened)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.RefusedEach(t, datadog.Kind(), outputtest.Settings{"apikey": outputtest.Canary}, map[string]outputtest.Settings{
		"DATADOG_APIKEY":    {"apikey": outputtest.Canary + " x"},
		"DATADOG_HOST":      {"host": "api.datadoghq.eu"},
		"DATADOG_MUTUALTLS": {"mutualtls": "true"},
	})
}
