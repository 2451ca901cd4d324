package opsgenie_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/opsgenie"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

type alert struct {
	Message, Description, Alias, Priority string
	Details                               map[string]string
}

// spec is Opsgenie as the tests see it.
func spec(t testing.TB) outputtest.Spec {
	valid := outputtest.JSONSchema(t, "alert.schema.json")
	return outputtest.Spec{
		Kind: opsgenie.Kind(), Classes: outputtest.Outages(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{"apikey": outputtest.Canary, "address": base + "/v2/alerts"}
		},
		Answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"result":"Request will be processed","took":0.1,"requestId":"x"}`)
		},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPost || r.URL.Path != "/v2/alerts" || r.Header.Get("Authorization") != "GenieKey "+outputtest.Canary {
				t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
			}
			valid(t, body)
			var a alert
			if err := json.Unmarshal(body, &a); err != nil {
				t.Error(err)
			}
			size := 0
			for key, value := range a.Details {
				size += len([]rune(key)) + len([]rune(value))
			}
			if size > 8000 {
				t.Errorf("details of %d characters", size)
			}
			if strings.ContainsAny(a.Message+a.Description, "<>\"'") {
				t.Errorf("HTML: %s %s", a.Message, a.Description)
			}
		},
	}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec(t)) }

func TestGolden(t *testing.T) { spec(t).Golden(t) }

func send(t *testing.T, e schema.Event) (a alert) {
	t.Helper()
	if err := json.Unmarshal(spec(t).SentEvent(t, e), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPriority(t *testing.T) {
	for priority, want := range map[schema.Priority]string{
		schema.PriorityEmergency: "P1", schema.PriorityAlert: "P1", schema.PriorityCritical: "P2", schema.PriorityError: "P3",
		schema.PriorityWarning: "P4", schema.PriorityNotice: "P5", schema.PriorityDebug: "P5",
	} {
		e := outputtest.Falco()
		e.Falco.Priority = priority
		if a := send(t, e); a.Priority != want {
			t.Errorf("%v: %s, want %s", priority, a.Priority, want)
		}
	}
}

// TestAlias: the same incident is one alert, whichever replica it happens in.
func TestAlias(t *testing.T) {
	first := send(t, outputtest.BlockedExec())
	again := outputtest.BlockedExec()
	again.ID, again.Alert.PodName = "a-99", "web-other"
	if second := send(t, again); first.Alias != second.Alias {
		t.Errorf("%s and %s", first.Alias, second.Alias)
	}
	again.Alert.PolicyName = "other"
	if third := send(t, again); first.Alias == third.Alias {
		t.Error("another policy has the same alias")
	}
}

func TestSettings(t *testing.T) {
	for _, region := range []string{"us", "EU"} {
		outputtest.New(t, opsgenie.Kind(), outputtest.Settings{"apikey": "k", "region": region})
	}
	outputtest.RefusedEach(t, opsgenie.Kind(), outputtest.Settings{"apikey": outputtest.Canary}, map[string]outputtest.Settings{
		"OPSGENIE_APIKEY":  {"apikey": outputtest.Canary + " x"},
		"OPSGENIE_REGION":  {"region": "asia"},
		"OPSGENIE_ADDRESS": {"address": "/" + outputtest.Canary},
	})
}
