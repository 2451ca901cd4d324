package policyapi

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sidearmor/sidearmor/schema/policystream"
)

// What tracers tell of their policies is counted once, whoever tells it and how often;
// a version that watches beside another has its own count.
func TestDecisionsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	status := func(counts ...uint64) *policystream.Status {
		return &policystream.Status{Policies: []policystream.Selected{
			{Namespace: "n", Name: "a", Mode: "enabled", Denied: counts[0], WouldDenied: counts[1], Audited: counts[2]},
			{Namespace: "n", Name: "a", Mode: "audited", Denied: counts[0], WouldDenied: counts[1], Audited: counts[2]},
			{Name: "off", Mode: "disabled", Denied: 9},
		}}
	}
	none := &policystream.Status{}
	m.add(none, status(1, 2, 3))
	m.add(status(1, 2, 3), status(1, 2, 3))
	m.add(status(1, 2, 3), status(5, 2, 4))
	m.add(none, status(10, 0, 0))            // another tracer
	m.add(status(10, 0, 0), status(2, 0, 0)) // its counts began anew
	const want = `
# HELP sidearmor_policy_decisions_total What policies denied, would have denied, and let pass with an alert, as tracers tell it.
# TYPE sidearmor_policy_decisions_total counter
sidearmor_policy_decisions_total{mode="audited",policy="a",policy_namespace="n",result="audited"} 0
sidearmor_policy_decisions_total{mode="audited",policy="a",policy_namespace="n",result="denied"} 0
sidearmor_policy_decisions_total{mode="audited",policy="a",policy_namespace="n",result="would_deny"} 2
sidearmor_policy_decisions_total{mode="enabled",policy="a",policy_namespace="n",result="audited"} 4
sidearmor_policy_decisions_total{mode="enabled",policy="a",policy_namespace="n",result="denied"} 17
sidearmor_policy_decisions_total{mode="enabled",policy="a",policy_namespace="n",result="would_deny"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	many := &policystream.Status{}
	for i := range 2 * maxMetered {
		many.Policies = append(many.Policies, policystream.Selected{Name: strings.Repeat("x", i+1), Mode: "enabled", Denied: 1})
	}
	m.add(none, many)
	if n := testutil.CollectAndCount(m.decisions); n != 3*maxMetered {
		t.Errorf("%d series", n)
	}
}
