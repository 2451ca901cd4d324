package dispatch

import (
	"errors"
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// A service that asks for more patience than this is asked again earlier.
	maxRetryAfter = time.Hour
)

// failure is a failed delivery, whatever the output returned.
type failure struct {
	class      outputs.Class
	retryAfter time.Duration
	events     []int // which failed: ascending, in range, never empty
	err        error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// classify reads an output's error about a batch of n events. Indexes that cannot
// be are ignored; if that leaves none, all have failed.
func classify(err error, n int) *failure {
	f := &failure{class: outputs.Transient, err: err}
	var e *outputs.Error
	if errors.As(err, &e) {
		f.class, f.retryAfter = e.Class, e.RetryAfter
		for _, i := range e.Failed {
			if i >= 0 && i < n {
				f.events = append(f.events, i)
			}
		}
		slices.Sort(f.events)
		f.events = slices.Compact(f.events)
	}
	if len(f.events) == 0 {
		for i := range n {
			f.events = append(f.events, i)
		}
	}
	return f
}

func retryAfter(err error) time.Duration {
	var f *failure
	if errors.As(err, &f) {
		return f.retryAfter
	}
	return 0
}

// backoff is the wait after so many failures one after another: it doubles up to 30 s, half
// of it by chance (0 to 1), so that many sidekicks do not come back at once. It is
// never shorter than the service asked for.
func backoff(failures int, asked time.Duration, chance float64) time.Duration {
	d := maxBackoff
	if n := failures - 1; n < 6 {
		d = min(firstBackoff<<n, maxBackoff)
	}
	d = d/2 + time.Duration(chance*float64(d/2))
	if asked = min(asked, maxRetryAfter); asked > 0 {
		return max(d, asked+time.Duration(chance*float64(asked/10)))
	}
	return d
}
