package schema

import (
	"strconv"
	"time"
)

// Priority places the event on Falco's scale:
//
//	Falco event                      its own
//	log, passed or failed            Informational
//	log, denied                      Notice
//	alert of type SystemEvent        Warning
//	alert, severity            none or 1–3   4–6       7–8        9–10
//	  action Block             Warning       Error     Critical   Alert
//	  any other action         Notice        Warning   Error      Critical
//
// A block is never below Warning. A severity that is not a number counts as
// none, one above 10 as 10.
func (e *Event) Priority() Priority {
	switch {
	case e.Falco != nil:
		return e.Falco.Priority
	case e.Alert != nil:
		return e.Alert.priority()
	case e.Log != nil && e.Log.denied():
		return PriorityNotice
	case e.Log != nil:
		return PriorityInformational
	}
	return PriorityDefault
}

func (a *Alert) priority() Priority {
	if a.Type == TypeSystemEvent {
		return PriorityWarning
	}
	p := PriorityNotice
	if a.Action == ActionBlock {
		p = PriorityWarning
	}
	severity, err := strconv.Atoi(a.Severity)
	switch {
	case err != nil || severity <= 3:
		return p
	case severity <= 6:
		return p + 1
	case severity <= 8:
		return p + 2
	}
	return p + 3
}

// denied says whether the kernel or a policy refused what the event is about.
// Other results, "No such file or directory" say, are failures of the workload.
func (r *Record) denied() bool {
	return r.Result == ResultPermissionDenied || r.Result == "Operation not permitted"
}

// Blocked reports whether a policy kept the workload from what the event is
// about. An audited access, and one that the kernel's own rules denied, is not
// blocked.
func (e *Event) Blocked() bool {
	return e.Alert != nil && e.Alert.Action == ActionBlock && e.Alert.Result != ResultPassed
}

// Time is when the event happened, in UTC: its UpdatedTime, or else its
// Timestamp, or else when it was received. Zero when none is known.
func (e *Event) Time() time.Time {
	t := time.Time{}
	switch {
	case e.Falco != nil:
		t = e.Falco.Time
	case e.Alert != nil:
		t = e.Alert.time()
	case e.Log != nil:
		t = e.Log.time()
	}
	if t.IsZero() {
		t = e.Received
	}
	return t.UTC()
}

func (r *Record) time() time.Time {
	if t, err := time.Parse(time.RFC3339Nano, r.UpdatedTime); err == nil {
		return t
	}
	if r.Timestamp > 0 {
		return time.Unix(r.Timestamp, 0)
	}
	return time.Time{}
}

// Record gives what alerts and logs have in common; nil for a Falco event. It is
// the event's own.
func (e *Event) Record() *Record {
	switch {
	case e.Alert != nil:
		return &e.Alert.Record
	case e.Log != nil:
		return &e.Log.Record
	}
	return nil
}
