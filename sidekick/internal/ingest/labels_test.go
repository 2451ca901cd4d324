package ingest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/sidekick/internal/enrich"
)

// The labels of Falco events are FalcoSidekick's, which its dashboards and the rules
// of its chart ask for.
func TestFalcoEventLabels(t *testing.T) {
	enricher, err := enrich.New(enrich.Options{
		CustomFields: map[string]string{"env": "prod"}, TemplatedFields: map[string]string{"who.is": `{{ index . "proc.name" }}`},
	})
	if err != nil {
		t.Fatal(err)
	}
	h, _ := served(t, Options{
		Store: &store{}, Enricher: enricher, Labels: []string{"env", "who.is", "container.id"},
		Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	}, nil)
	for _, more := range []string{
		`"hostname":"h1","output_fields":{"k8s.ns.name":"shop","k8s.pod.name":"web-1","proc.name":"bash","container.id":"abc"}`,
		`"output_fields":{"k8s.ns.name":null,"k8s.pod.name":7,"proc.name":"sh","container.id":7}`,
	} {
		w := httptest.NewRecorder()
		body := `{"output":"o","priority":"Warning","rule":"r","time":"2026-01-02T03:04:05Z","source":"syscall",` + more + `}`
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		if w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`{container_id="abc",env="prod",hostname="h1",k8s_ns_name="shop",k8s_pod_name="web-1",priority="4",priority_raw="warning",rule="r",source="syscall",who_is="bash"} 1`,
		`{container_id="",env="prod",hostname="unknown",k8s_ns_name="",k8s_pod_name="",priority="4",priority_raw="warning",rule="r",source="syscall",who_is="sh"} 1`,
	} {
		if !strings.Contains(w.Body.String(), "falcosecurity_falcosidekick_falco_events_total"+want) {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
}
