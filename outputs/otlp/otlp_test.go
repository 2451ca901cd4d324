package otlp_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/otlp"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind:         otlp.Kind(),
		AnswerCounts: true,
		Settings: func(_ testing.TB, base string) outputtest.Settings {
			return outputtest.Settings{"endpoint": base, "headers": "Authorization=Basic%20" + outputtest.Canary + ", X-Token=" + outputtest.Canary}
		},
		Check: func(t testing.TB, r *http.Request, body []byte) {
			if r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != "application/x-protobuf" ||
				r.Header.Get("Authorization") != "Basic "+outputtest.Canary || r.Header.Get("X-Token") != outputtest.Canary {
				t.Errorf("%s with %v", r.URL, r.Header)
			}
			parse(t, body)
		},
	})
}

// parse reads a request and checks what the specification asks of it beyond
// protobuf.
func parse(t testing.TB, body []byte) *collector.ExportLogsServiceRequest {
	t.Helper()
	var req collector.ExportLogsServiceRequest
	if err := proto.Unmarshal(body, &req); err != nil {
		t.Errorf("not a request: %v", err)
	}
	n := 0
	for _, r := range req.ResourceLogs {
		for _, s := range r.ScopeLogs {
			for _, l := range s.LogRecords {
				n++
				keys := map[string]bool{}
				for _, a := range l.Attributes {
					if a.Key == "" || keys[a.Key] {
						t.Errorf("attribute %q is empty or comes twice", a.Key)
					}
					keys[a.Key] = true
				}
				if l.ObservedTimeUnixNano == 0 || l.SeverityNumber < 0 || l.SeverityNumber > 24 {
					t.Errorf("record %v", l)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no records")
	}
	return &req
}

func TestGolden(t *testing.T) {
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { body, _ = io.ReadAll(r.Body) }))
	defer srv.Close()
	o := outputtest.New(t, otlp.Kind(), outputtest.Settings{"endpoint": srv.URL + "/"})
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := o.Deliver(t.Context(), []schema.Event{c.Event}); err != nil {
				t.Fatal(err)
			}
			text, err := protojson.Marshal(parse(t, body))
			if err != nil {
				t.Fatal(err)
			}
			outputtest.GoldenJSON(t, c.Name+".json", text)
		})
	}
}

// TestResources: events of one container share a resource.
func TestResources(t *testing.T) {
	var req *collector.ExportLogsServiceRequest
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		req = parse(t, body)
	}))
	defer srv.Close()
	o := outputtest.New(t, otlp.Kind(), outputtest.Settings{"endpoint": srv.URL + "/custom"})
	batch := []schema.Event{outputtest.Log(), outputtest.AuditedConnect(), outputtest.BlockedExec(), outputtest.BlockedFile()}
	if err := o.Deliver(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if len(req.ResourceLogs) != 2 || len(req.ResourceLogs[0].ScopeLogs[0].LogRecords) != 3 {
		t.Errorf("%d resources", len(req.ResourceLogs))
	}
}

// TestPartialSuccess: a 200 that speaks of rejected records is no success.
func TestPartialSuccess(t *testing.T) {
	requests := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		body, _ := proto.Marshal(&collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{
			RejectedLogRecords: 1, ErrorMessage: "no room for " + outputtest.Canary,
		}})
		_, _ = w.Write(body)
	}))
	defer srv.Close()
	o := outputtest.New(t, otlp.Kind(), outputtest.Settings{"endpoint": srv.URL})
	err := o.Deliver(t.Context(), []schema.Event{outputtest.Log(), outputtest.Falco()})
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.Permanent || !slices.Equal(e.Failed, []int{0, 1}) || requests != 1 {
		t.Errorf("%d requests, got %#v (%v)", requests, e, err)
	}
	outputtest.NoSecret(t, err)
}

func TestRefusedSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string
	}{
		"endpoint": {outputtest.Settings{"endpoint": "collector:4318/" + outputtest.Canary}, "OTLP_LOGS_ENDPOINT"},
		"protocol": {outputtest.Settings{"protocol": "grpc"}, "OTLP_LOGS_PROTOCOL"},
		"no value": {outputtest.Settings{"headers": "a=1," + outputtest.Canary}, "OTLP_LOGS_HEADERS: header 2"},
		"escape":   {outputtest.Settings{"headers": "a=%zz" + outputtest.Canary}, "OTLP_LOGS_HEADERS: header 1"},
		"line end": {outputtest.Settings{"headers": "a=%0a" + outputtest.Canary}, "OTLP_LOGS_HEADERS: header 1"},
	} {
		t.Run(name, func(t *testing.T) {
			outputtest.Refused(t, otlp.Kind(), outputtest.Settings{"endpoint": "https://otel.example"}.With(tt.settings), tt.want)
		})
	}
}
