package splunk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/splunk"
	"github.com/sidearmor/sidearmor/schema"
)

type event struct {
	Time       json.Number     `json:"time"`
	Host       string          `json:"host"`
	Source     string          `json:"source"`
	SourceType string          `json:"sourcetype"`
	Index      string          `json:"index"`
	Event      json.RawMessage `json:"event"`
}

// parse reads a request as the collector does: objects one behind the other, with no
// other keys than those it knows.
func parse(body []byte) ([]event, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var list []event
	for {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return list, err
		}
		list = append(list, e)
	}
}

// collector takes what does not contain a word, and refuses a whole request for it, as
// Splunk does.
func collector(word string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		list, _ := parse(body)
		for i, e := range list {
			if word != "" && bytes.Contains(e.Event, []byte(word)) {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"text":"Invalid data format","code":6,"invalid-event-number":%d}`, i)
				return
			}
		}
		_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
	}
}

// spec is Splunk as the tests see it, with the setting index.
func spec(index string) outputtest.Spec {
	return outputtest.Spec{
		Kind: splunk.Kind(), Answer: collector(""), Classes: outputtest.Outages(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{"host": base, "token": outputtest.Canary, "index": index, "customheaders": "X-Token:" + outputtest.Canary}
		},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPost || r.URL.Path != "/services/collector/event" || r.Header.Get("Authorization") != "Splunk "+outputtest.Canary {
				t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
			}
			list, err := parse(body)
			if err != nil || len(list) == 0 || len(body) > 1_000_000 {
				t.Errorf("%d events in %d bytes, %v", len(list), len(body), err)
			}
			for _, e := range list {
				if e.Source != "sidearmor" || e.SourceType != "_json" || e.Index != index || !strings.HasPrefix(string(e.Event), "{") {
					t.Errorf("%+.300v", e)
				}
			}
		},
	}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec("security")) }

func TestGolden(t *testing.T) { spec("").Golden(t) }

// TestRefused: one event that is refused does not take the others with it, and a token
// without rights to an index takes none.
func TestRefused(t *testing.T) {
	batch := []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect(), outputtest.Falco(), outputtest.Log()}
	err := outputtest.Deliver(t.Context(), t, spec("").Answered(t, collector("billing")), batch)
	outputtest.WantFailed(t, err, outputs.Permanent, 1)
	if want := "Splunk answered 400 Bad Request: code 6, Invalid data format"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	for answer, class := range map[string]outputs.Class{
		`400 {"text":"Incorrect index","code":7,"invalid-event-number":1}`:           outputs.Transient,
		`400 {"text":"Data channel is missing","code":10}`:                           outputs.Transient,
		`503 {"text":"Server is busy","code":9}`:                                     outputs.Transient,
		`403 {"text":"Invalid token","code":4}`:                                      outputs.Transient,
		`400 {"text":"see http://x/` + outputtest.Canary + `","code":12}`:            outputs.Permanent,
		`400 <html>proxy ` + outputtest.Canary + `</html>`:                           outputs.Permanent,
		`400 {"text":"No data ` + strings.Repeat("x", 5000) + `","code":5,"more":1}`: outputs.Permanent,
	} {
		status, body, _ := strings.Cut(answer, " ")
		o := spec("").Answered(t, func(w http.ResponseWriter, _ *http.Request) {
			var code int
			_, _ = fmt.Sscan(status, &code)
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		})
		err := outputtest.Deliver(t.Context(), t, o, batch[:1])
		if outputtest.Class(err) != class {
			t.Errorf("%.80s: %v", answer, err)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.RefusedEach(t, splunk.Kind(), outputtest.Settings{"host": "https://splunk:8088", "token": "t"}, map[string]outputtest.Settings{
		"SPLUNK_HOST":          {"host": "splunk:8088/" + outputtest.Canary},
		"SPLUNK_TOKEN":         {"token": outputtest.Canary + " x"},
		"SPLUNK_CUSTOMHEADERS": {"customheaders": outputtest.Canary},
	})
}
