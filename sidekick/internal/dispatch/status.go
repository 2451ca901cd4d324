package dispatch

import (
	"sync"
	"time"
)

// Status is how an output does.
type Status struct {
	Status string     `json:"status"`           // ok, or failing: its last delivery failed, of alerts or of logs
	Reason string     `json:"reason,omitempty"` // of the last failure
	Since  *time.Time `json:"since,omitempty"`  // of the first failure in a row
	Until  *time.Time `json:"until,omitempty"`  // no attempt before
}

// Values of Status.Status.
const (
	StatusOK      = "ok"
	StatusFailing = "failing"
)

// board holds the statuses of all outputs. It may be asked by many at once.
type board struct {
	mu       sync.Mutex
	statuses map[string]Status
}

func (b *board) set(name string, s Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.statuses[name] = s
}

// Status gives the status of each output by its name.
func (d *Dispatcher) Status() map[string]Status {
	d.board.mu.Lock()
	defer d.board.mu.Unlock()
	all := make(map[string]Status, len(d.board.statuses))
	for name, s := range d.board.statuses {
		all[name] = s
	}
	return all
}

// trouble is what a lane's last delivery met.
type trouble struct {
	reason string // "" when it went well
	since  time.Time
	until  time.Time
}

// status is that of the lane which has failed for longer.
func status(lanes ...trouble) Status {
	s := Status{Status: StatusOK}
	for _, t := range lanes {
		since := t.since.UTC()
		if t.reason == "" || s.Since != nil && s.Since.Before(since) {
			continue
		}
		s = Status{Status: StatusFailing, Reason: t.reason, Since: &since}
		if until := t.until.UTC(); !t.until.IsZero() {
			s.Until = &until
		}
	}
	return s
}
