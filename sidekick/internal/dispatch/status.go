package dispatch

import (
	"maps"
	"sync"
	"time"
)

// Status is how an output does.
type Status struct {
	Status string     `json:"status"`           // ok, or failing: its last delivery failed, of alerts or of logs
	Reason string     `json:"reason,omitempty"` // of the last failure
	Since  *time.Time `json:"since,omitempty"`  // of the first failure one after another
	Until  *time.Time `json:"until,omitempty"`  // no attempt before
	// What it did not take since the start, by reason: kept as dead letters, and not,
	// because these had no room.
	DeadLetters map[string]int `json:"dead_letters,omitempty"`
	Lost        map[string]int `json:"lost,omitempty"`
}

// Values of Status.Status.
const (
	StatusOK      = "ok"
	StatusFailing = "failing"
)

// board holds the statuses of all outputs. It may be asked by many at once.
type board struct {
	mu         sync.Mutex
	statuses   map[string]Status
	dead, lost map[string]map[string]int // by output and reason
}

// died counts an event that an output did not take.
func (b *board) died(name, reason string, kept bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := &b.dead
	if !kept {
		all = &b.lost
	}
	if *all == nil {
		*all = map[string]map[string]int{}
	}
	if (*all)[name] == nil {
		(*all)[name] = map[string]int{}
	}
	(*all)[name][reason]++
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
		s.DeadLetters, s.Lost = maps.Clone(d.board.dead[name]), maps.Clone(d.board.lost[name])
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
