package supervise

import (
	"path"
	"time"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// aggregate joins logs that are alike: of one program, user, call, flags, result and
// directory (of a connection, address), within a second. It keeps the first of them.
type aggregate struct {
	byKey   map[aggregateKey]int // into waiting
	waiting []report
	since   time.Time // when the first came
}

type aggregateKey struct {
	program, parent, place string
	op                     rules.Operation
	call                   syscalls.ID
	flags                  uint64
	result                 string
	uid                    int
}

const (
	// aggregateFor is how long logs may wait for others that are alike, and
	// maxAggregates how many there may be.
	aggregateFor  = time.Second
	maxAggregates = 2048
)

// add takes a log. It is false for an alert, and where there are too many.
func (a *aggregate) add(r *report, now time.Time) bool {
	if r.verdict.Alert || len(a.waiting) >= maxAggregates {
		return false
	}
	key := aggregateKey{
		program: r.who.Exe, parent: r.who.Parent, place: path.Dir(r.resource), op: r.op, call: r.spec.ID,
		flags: r.flags, result: r.result, uid: r.uid,
	}
	switch {
	case r.spec.Op == rules.Process:
		key.program, key.place = r.program, ""
	case r.to.family != "":
		resource, _ := r.to.describe(r.protocol, r.spec.ID)
		key.place = resource
	case r.op == rules.Syscall:
		key.place = r.resource + r.detail
	}
	if i, ok := a.byKey[key]; ok {
		a.waiting[i].count++
		return true
	}
	if len(a.waiting) == 0 {
		a.since, a.byKey = now, map[aggregateKey]int{}
	}
	a.byKey[key] = len(a.waiting)
	a.waiting = append(a.waiting, *r)
	a.waiting[len(a.waiting)-1].count = 1
	return true
}

// due says whether what waits is to be sent.
func (a *aggregate) due(now time.Time) bool {
	return len(a.waiting) > 0 && (len(a.waiting) >= maxAggregates || now.Sub(a.since) >= aggregateFor)
}

// flush sends what waits.
func (a *aggregate) flush(send func(*report)) {
	for i := range a.waiting {
		send(&a.waiting[i])
	}
	clear(a.waiting)
	a.waiting, a.byKey = a.waiting[:0], nil
}
