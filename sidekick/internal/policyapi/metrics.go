package policyapi

import (
	"github.com/prometheus/client_golang/prometheus"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policystream"
)

// maxMetered bounds the policies that have metrics of their own: their names come from
// tracers.
const maxMetered = 1000

// Results of decisions, as a label.
const (
	resultDenied    = "denied"
	resultWouldDeny = "would_deny"
	resultAudited   = "audited"
)

// metrics count what tracers say that their policies have done.
type metrics struct {
	decisions *prometheus.CounterVec
	known     map[metered]bool
}

// metered is a policy that has metrics.
type metered struct{ namespace, name, mode string }

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		known: map[metered]bool{},
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sidearmor_policy_decisions_total",
			Help: "What policies denied, would have denied, and let pass with an alert, as tracers tell it.",
		}, []string{"policy_namespace", "policy", "mode", "result"}),
	}
	if reg != nil {
		reg.MustRegister(m.decisions)
	}
	return m
}

// add counts what a tracer says now beyond what it said before. One that has started
// anew is another tracer, and begins at nothing.
func (m *metrics) add(before, now *policystream.Status) {
	said := done(before)
	for of, counts := range done(now) {
		if !m.known[of] {
			if len(m.known) >= maxMetered {
				continue
			}
			m.known[of] = true
		}
		for i, result := range []string{resultDenied, resultWouldDeny, resultAudited} {
			more := counts[i] - said[of][i]
			if counts[i] < said[of][i] {
				more = counts[i] // the policy had gone, and its counts with it
			}
			m.decisions.WithLabelValues(of.namespace, of.name, of.mode, result).Add(float64(more))
		}
	}
}

// done gives what each policy has done. A version that watches has what would have been
// denied, the one in force beside it the rest: a tracer counts both by their name.
func done(s *policystream.Status) map[metered][3]uint64 {
	type key struct{ namespace, name string }
	modes := map[key]map[string]bool{}
	for _, p := range s.Policies {
		k := key{p.Namespace, p.Name}
		if modes[k] == nil {
			modes[k] = map[string]bool{}
		}
		modes[k][p.Mode] = true
	}
	all := map[metered][3]uint64{}
	for _, p := range s.Policies {
		counts := [3]uint64{p.Denied, p.WouldDenied, p.Audited}
		beside := modes[key{p.Namespace, p.Name}]
		switch {
		case p.Mode == spolicy.ModeAudited && beside[spolicy.ModeEnabled]:
			counts = [3]uint64{0, p.WouldDenied, 0}
		case p.Mode == spolicy.ModeEnabled && beside[spolicy.ModeAudited]:
			counts[1] = 0
		case p.Mode == spolicy.ModeDisabled:
			continue
		}
		all[metered{p.Namespace, p.Name, p.Mode}] = counts
	}
	return all
}
