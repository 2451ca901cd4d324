package config

import (
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		text string
		env  []string
		want Limits
	}{
		{"", nil, Limits{Rate: 10_000, Connections: 1024}},
		{"", []string{"RATE_LIMIT=5", "MAX_CONNECTIONS=16"}, Limits{Rate: 5, RateLocal: true, Connections: 16}},
		{"rate_limit: 0\nmax_connections: 1000000", nil, Limits{RateLocal: true, Connections: 1_000_000}},
	} {
		got, err := load(t, c.text, c.env...)
		if err != nil || got.Limits != c.want {
			t.Errorf("%q %v: %+v, %v", c.text, c.env, got.Limits, err)
		}
	}
	for env, want := range map[string]string{
		"RATE_LIMIT=-1":           `RATE_LIMIT: "-1" is not a number from 0 to 1000000`,
		"RATE_LIMIT=5/s":          `RATE_LIMIT: "5/s" is not a number`,
		"MAX_CONNECTIONS=15":      `MAX_CONNECTIONS: "15" is not a number from 16 to`,
		"MAX_CONNECTIONS=1000001": `MAX_CONNECTIONS: "1000001" is not a number`,
		"RATE_LIMITS=5":           "RATE_LIMITS: unknown variable, did you mean RATE_LIMIT?",
		"MAX_CONNECTION=5":        "MAX_CONNECTION: unknown variable, did you mean MAX_CONNECTIONS?",
	} {
		if _, err := load(t, "", env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
}
