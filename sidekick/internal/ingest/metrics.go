package ingest

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/enrich"
)

// maxSeries bounds the series of a metric whose labels come from what is posted.
const (
	maxSeries     = 1000
	maxLabelBytes = 128
)

const other = "other"

type metrics struct {
	inputs    *prometheus.CounterVec
	falco     *prometheus.CounterVec
	kubearmor *prometheus.CounterVec
	engines   *prometheus.CounterVec
	rejected  *prometheus.CounterVec

	fields []string // output fields that are labels of falco

	mu   sync.Mutex
	seen map[string]struct{} // labels of falco, joined; guarded by mu; at most maxSeries
}

func newMetrics(reg prometheus.Registerer, fields []string) *metrics {
	names := enrich.EventLabels()
	for _, field := range fields {
		name, _ := enrich.Label(field)
		names = append(names, name)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		inputs: counter("falcosecurity_falcosidekick_inputs_total",
			"Events by whether they were taken; a request that holds none counts as one.", "source", "status"),
		falco: counter("falcosecurity_falcosidekick_falco_events_total",
			"Falco events taken; beyond 1,000 combinations of labels they count under other.",
			names...),
		kubearmor: counter("sidearmor_kubearmor_events_total", "KubeArmor events taken.", "kind", "action", "operation"),
		engines:   counter("sidearmor_tracer_events_total", "Events taken from tracers, by how these hold system calls.", "engine"),
		rejected:  counter("sidearmor_rejected_events_total", "Events and requests that were not taken.", "reason"),
		fields:    fields,
		seen:      map[string]struct{}{},
	}
	for _, engine := range []string{"notify", "ptrace"} {
		m.engines.WithLabelValues(engine)
	}
	for _, status := range []string{"accepted", "rejected"} {
		m.inputs.WithLabelValues("requests", status)
	}
	for _, reason := range reasons() {
		m.rejected.WithLabelValues(reason)
	}
	return m
}

func (m *metrics) reject(reason string) { m.rejected.WithLabelValues(reason).Inc() }

// falcoEvent counts an event of Falco's that was stored.
func (m *metrics) falcoEvent(f *schema.FalcoEvent) {
	m.falco.WithLabelValues(m.falcoLabels(f)...).Inc()
}

// fromTracer counts events by the engine of the tracer that sent them, which it says in
// the header Sidearmor-Engine.
func (m *metrics) fromTracer(engine string, events int) {
	switch engine {
	case "":
	case "notify", "ptrace":
		m.engines.WithLabelValues(engine).Add(float64(events))
	default:
		m.engines.WithLabelValues("other").Add(float64(events))
	}
}

// kubeArmor counts an event of KubeArmor's that was stored.
func (m *metrics) kubeArmor(p *schema.Packed) {
	m.kubearmor.WithLabelValues(string(p.Kind), action(p.Action), operation(p.Operation)).Inc()
}

// label makes a label value of what was posted: short, and valid UTF-8, without
// which Prometheus' library panics.
func label(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxLabelBytes)], "")
}

func action(a string) string {
	return oneOf(a, "", schema.ActionBlock, schema.ActionAudit, schema.ActionAuditBlock, schema.ActionAllow)
}

func operation(o string) string {
	return oneOf(o, schema.OperationProcess, schema.OperationFile, schema.OperationNetwork,
		schema.OperationCapabilities, schema.OperationSyscall, schema.OperationAlertThreshold)
}

// oneOf gives a string of ours: s may be a part of a body, which a label would keep.
func oneOf(s string, known ...string) string {
	if i := slices.Index(known, s); i >= 0 {
		return known[i]
	}
	return other
}
