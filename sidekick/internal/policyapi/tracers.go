package policyapi

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sidearmor/sidearmor/schema/policystream"
)

const (
	maxID = 100 // bytes
	// What tracers said is kept for so long after their stream has ended, and no more
	// than this of all together.
	keepTracers = time.Hour
	maxTracers  = 64 << 20
)

// tracers are those that have a stream, or had one not long ago.
type tracers struct {
	now     func() time.Time
	metrics *metrics

	mu    sync.Mutex
	all   map[string]*tracer
	bytes int
}

// tracer is what is known of one.
type tracer struct {
	streams int       // that it has open
	seen    time.Time // when it was heard of last
	said    policystream.Status
	size    int
}

func newTracers(now func() time.Time, m *metrics) *tracers {
	return &tracers{now: now, metrics: m, all: map[string]*tracer{}}
}

// connect notes that a tracer has opened a stream, until disconnect.
func (t *tracers) connect(id string) (disconnect func()) {
	if id == "" || len(id) > maxID {
		return func() {}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	one := t.find(id)
	one.streams++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		one.streams--
		one.seen = t.now()
	}
}

// tell notes what a tracer says; not where there is no room.
func (t *tracers) tell(s policystream.Status) bool {
	text, err := json.Marshal(s)
	if err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	if t.bytes+len(text) > maxTracers {
		return false
	}
	one := t.find(s.Tracer.ID)
	t.bytes += len(text) - one.size
	t.metrics.add(&one.said, &s)
	one.said, one.size = s, len(text)
	return true
}

// find finds a tracer, or adds it. t.mu is held.
func (t *tracers) find(id string) *tracer {
	one := t.all[id]
	if one == nil {
		one = &tracer{size: len(id)}
		t.bytes += one.size
		t.all[id] = one
	}
	one.seen = t.now()
	return one
}

// expire forgets tracers that are gone for long. t.mu is held.
func (t *tracers) expire() {
	now := t.now()
	for id, one := range t.all {
		if one.streams == 0 && now.Sub(one.seen) > keepTracers {
			t.bytes -= one.size
			delete(t.all, id)
		}
	}
}

// shownTracer is a tracer as it is listed.
type shownTracer struct {
	policystream.Status
	Connected bool      `json:"connected"`
	Current   bool      `json:"current"` // it has in force what the sidekick has
	Seen      time.Time `json:"seen"`
}

// list gives all, ordered by where they are.
func (t *tracers) list(instance string, generation uint64) []shownTracer {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	shown := make([]shownTracer, 0, len(t.all))
	for id, one := range t.all {
		s := shownTracer{Status: one.said, Connected: one.streams > 0, Seen: one.seen}
		s.Tracer.ID = id
		s.Current = s.Instance == instance && s.Generation == generation
		shown = append(shown, s)
	}
	slices.SortFunc(shown, func(a, b shownTracer) int {
		return strings.Compare(place(&a.Tracer), place(&b.Tracer))
	})
	return shown
}

// Tracers gives what all tracers said last that have a stream, or had one not long ago.
func (h *Handlers) Tracers() []policystream.Status {
	var all []policystream.Status
	for _, t := range h.tracers.list("", 0) {
		all = append(all, t.Status)
	}
	return all
}

func place(t *policystream.Tracer) string {
	return strings.Join([]string{t.Namespace, t.Pod, t.Container, t.Host, t.ID}, "\x00")
}
