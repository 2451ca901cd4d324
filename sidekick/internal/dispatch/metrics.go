package dispatch

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	outputs   *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	retries   *prometheus.CounterVec
	dead      *prometheus.CounterVec
	filtered  *prometheus.CounterVec
	undecided *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	digests   *prometheus.CounterVec
	digested  *prometheus.CounterVec
	failing   *prometheus.GaugeVec
	aside     *prometheus.GaugeVec
	lost      *prometheus.CounterVec
	merged    *prometheus.CounterVec
}

// outputMetrics are those of one output.
type outputMetrics struct {
	ok, failed, retries, filtered, undecided, digests, digested, merged prometheus.Counter

	died, lost        func(reason string) // count one event
	duration, latency prometheus.Observer
	failing, aside    prometheus.Gauge
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
		dead:      counter("sidearmor_dead_letters_total", "Events that an output did not take and that went to the dead letters.", "destination", "reason"),
		filtered:  counter("sidearmor_filtered_events_total", "Events below an output's minimum priority, or held back by its filter.", "destination"),
		undecided: counter("sidearmor_filter_errors_total", "Events that an output's filter could not decide on, which are delivered.", "destination"),
		digests:   counter("sidearmor_digests_total", "Messages delivered that count several similar events.", "destination"),
		digested:  counter("sidearmor_digested_events_total", "Events counted in such messages.", "destination"),
		lost:      counter("sidearmor_lost_events_total", "Events that an output did not take and that are no dead letters: these had no room (lag), or the queue had lost the event (gone).", "destination", "reason"),
		merged:    counter("sidearmor_digest_merged_events_total", "Events counted in a digest of several groups, because too many groups waited.", "destination"),
		aside: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sidearmor_output_set_aside_events", Help: "Events that fail while the output takes others, and are tried apart from them.",
		}, []string{"destination"}),
		failing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sidearmor_output_failing", Help: "Whether an output's last delivery failed and is to be tried again.",
		}, []string{"destination"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sidearmor_delivery_latency_seconds",
			Help:    "From when an event was received to when it was delivered; of a digest for its first event.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 15, 60, 300, 1800, 7200, 43200, 172800},
		}, []string{"destination"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sidearmor_delivery_duration_seconds",
			Help:    "How long one delivery took, whatever became of it.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"destination"}),
	}
	reg.MustRegister(m.duration, m.latency, m.failing, m.aside)
	for _, t := range targets {
		m.of(t.Name)
	}
	return m
}

func (m *metrics) of(name string) *outputMetrics {
	for _, reason := range []string{deadRefused, deadExpired, deadPanic, deadAttempts, deadLag} {
		m.dead.WithLabelValues(name, reason)
	}
	for _, reason := range []string{deadLag, lostGone} {
		m.lost.WithLabelValues(name, reason)
	}
	return &outputMetrics{
		ok:        m.outputs.WithLabelValues(name, "ok"),
		failed:    m.outputs.WithLabelValues(name, "error"),
		retries:   m.retries.WithLabelValues(name),
		died:      func(reason string) { m.dead.WithLabelValues(name, reason).Inc() },
		lost:      func(reason string) { m.lost.WithLabelValues(name, reason).Inc() },
		merged:    m.merged.WithLabelValues(name),
		aside:     m.aside.WithLabelValues(name),
		digests:   m.digests.WithLabelValues(name),
		digested:  m.digested.WithLabelValues(name),
		latency:   m.latency.WithLabelValues(name),
		failing:   m.failing.WithLabelValues(name),
		filtered:  m.filtered.WithLabelValues(name),
		undecided: m.undecided.WithLabelValues(name),
		duration:  m.duration.WithLabelValues(name),
	}
}
