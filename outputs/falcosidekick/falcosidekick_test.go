package falcosidekick_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/falcosecurity/falcosidekick/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/falcosidekick"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// stock answers as FalcoSidekick's handler does, and panics where that panics:
// POST or 400; one JSON value, numbers kept, into its own type; its own check;
// the two fields that become metric labels, unchecked; 200 with no body.
type stock struct {
	taken []types.FalcoPayload
	raw   []byte
}

func (s *stock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "Please send with post http method", http.StatusBadRequest)
		return
	}
	var p types.FalcoPayload
	body, _ := io.ReadAll(r.Body)
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	if err := d.Decode(&p); err != nil || !p.Check() {
		http.Error(w, "Please send a valid request body", http.StatusBadRequest)
		return
	}
	for key, value := range p.OutputFields {
		if key == "k8s.ns.name" || key == "k8s.pod.name" {
			_ = value.(string)
		}
	}
	s.taken, s.raw = append(s.taken, p), body
}

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind: falcosidekick.Kind(),
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{
				"address":       base + "/" + outputtest.Canary,
				"customheaders": "Authorization: Bearer " + outputtest.Canary,
			}
		},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" ||
				r.Header.Get("Authorization") != "Bearer "+outputtest.Canary {
				t.Errorf("%s with %v", r.Method, r.Header)
			}
			var p types.FalcoPayload
			if err := json.Unmarshal(body, &p); err != nil || !p.Check() {
				t.Errorf("FalcoSidekick would refuse it: %v\n%.500s", err, body)
			}
		},
	})
}

// TestStockContract delivers everything to a handler that is FalcoSidekick's.
func TestStockContract(t *testing.T) {
	s := &stock{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	o := outputtest.New(t, falcosidekick.Kind(), outputtest.Settings{"address": srv.URL})
	odd := outputtest.Falco()
	odd.Falco.OutputFields = map[string]any{"k8s.ns.name": nil, "k8s.pod.name": json.Number("7"), "x": []any{true}}
	cases := append(outputtest.Cases(), outputtest.Oversized()...)
	cases = append(cases, outputtest.Case{Name: "odd", Event: odd})
	for i, c := range cases {
		if err := o.Deliver(t.Context(), []schema.Event{c.Event}); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if len(s.taken) != i+1 {
			t.Fatalf("%s: %d events were taken", c.Name, len(s.taken))
		}
		got := s.taken[i]
		if c.Event.Alert == nil || c.Event.Alert.PolicyName == "" {
			continue
		}
		for key, value := range got.OutputFields {
			if _, ok := value.(string); !ok {
				t.Errorf("%s: %s is a %T: FalcoSidekick's chat outputs leave it out", c.Name, key, value)
			}
		}
		if got.Priority.String() != c.Event.Priority().String() || got.Source != "kubearmor" || !got.Time.Equal(c.Event.Time()) {
			t.Errorf("%s: %v %s %v", c.Name, got.Priority, got.Source, got.Time)
		}
	}
	if _, ok := odd.Falco.OutputFields["k8s.pod.name"].(json.Number); !ok {
		t.Error("the event was changed")
	}
	// The handler must be able to refuse.
	for _, body := range []string{`{}`, `{"rule":"r","priority":"high","time":"2026-01-01T00:00:00Z","output_fields":{"a":"b"}}`, `[]`} {
		resp, err := http.Post(srv.URL, "application/json", strings.NewReader(body))
		if err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %v, %v", body, resp, err)
		}
		resp.Body.Close()
	}
}

func TestGolden(t *testing.T) {
	s := &stock{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	o := outputtest.New(t, falcosidekick.Kind(), outputtest.Settings{"address": srv.URL})
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := o.Deliver(t.Context(), []schema.Event{c.Event}); err != nil {
				t.Fatal(err)
			}
			outputtest.GoldenJSON(t, c.Name+".json", s.raw)
		})
	}
}

// TestRefused: what FalcoSidekick answers 400 to is not tried again.
func TestRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Please send a valid request body", http.StatusBadRequest)
	}))
	defer srv.Close()
	o := outputtest.New(t, falcosidekick.Kind(), outputtest.Settings{"address": srv.URL})
	err := o.Deliver(t.Context(), []schema.Event{outputtest.Log()})
	if oe, ok := errors.AsType[*outputs.Error](err); !ok || oe.Class != outputs.Permanent {
		t.Errorf("got %v", err)
	}
}

func TestRefusedSettings(t *testing.T) {
	for want, settings := range map[string]outputtest.Settings{
		"FALCOSIDEKICK_ADDRESS":       {"address": outputtest.Canary},
		"FALCOSIDEKICK_CUSTOMHEADERS": {"address": "http://x/", "customheaders": outputtest.Canary},
		"FALCOSIDEKICK_MUTUALTLS":     {"address": "http://x/", "mutualtls": "true"},
	} {
		outputtest.Refused(t, falcosidekick.Kind(), settings, want)
	}
}
