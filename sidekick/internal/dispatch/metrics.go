package dispatch

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	outputs   *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	retries   *prometheus.CounterVec
	dead      *prometheus.CounterVec
	filtered  *prometheus.CounterVec
	undecided *prometheus.CounterVec
}

// outputMetrics are those of one output.
type outputMetrics struct {
	ok, failed, retries, dead, filtered, undecided prometheus.Counter
	duration                                       prometheus.Observer
}

// newMetrics registers the metrics and makes those of every target, so that a
// zero can be seen.
func newMetrics(reg prometheus.Registerer, targets []Target) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		outputs: counter("falcosecurity_falcosidekick_outputs_total",
			"Events delivered (ok) and events of failed attempts (error).", "destination", "status"),
		retries:   counter("sidearmor_delivery_retries_total", "Attempts that failed and are made again.", "destination"),
		dead:      counter("sidearmor_dead_letters_total", "Events that an output refused for good.", "destination"),
		filtered:  counter("sidearmor_filtered_events_total", "Events below an output's minimum priority, or held back by its filter.", "destination"),
		undecided: counter("sidearmor_filter_errors_total", "Events that an output's filter could not decide on, which are delivered.", "destination"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sidearmor_delivery_duration_seconds",
			Help:    "How long one delivery took, whatever became of it.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"destination"}),
	}
	reg.MustRegister(m.duration)
	for _, t := range targets {
		m.of(t.Name)
	}
	return m
}

func (m *metrics) of(name string) *outputMetrics {
	return &outputMetrics{
		ok:        m.outputs.WithLabelValues(name, "ok"),
		failed:    m.outputs.WithLabelValues(name, "error"),
		retries:   m.retries.WithLabelValues(name),
		dead:      m.dead.WithLabelValues(name),
		filtered:  m.filtered.WithLabelValues(name),
		undecided: m.undecided.WithLabelValues(name),
		duration:  m.duration.WithLabelValues(name),
	}
}
