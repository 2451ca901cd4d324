package loglimit

import (
	"testing"
	"time"
)

func TestCounter(t *testing.T) {
	var c Counter
	start := time.Unix(1000, 0)
	for i, step := range []struct {
		n, after int
		want     int
	}{{3, 0, 3}, {5, 59, 0}, {1, 60, 6}, {1, 61, 0}, {2, 119, 0}, {1, 120, 4}, {1, 1000, 1}} {
		if got := c.Add(step.n, start.Add(time.Duration(step.after)*time.Second)); got != step.want {
			t.Errorf("%d: %d, want %d", i, got, step.want)
		}
	}
}
