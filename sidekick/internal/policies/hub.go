// Package policies is the sidekick's hub of policies: sources report what they
// have, policies of the same name are merged, and each change is a new snapshot for
// those who show policies and those who carry them to tracers. It decides about no
// access and knows no container: which policies are for it, a tracer finds itself.
package policies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"sync"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// Bounds of what one source may report.
const (
	MaxPolicies = 10_000
	MaxBytes    = 32 << 20 // of all texts together
)

// Options are what a Hub works with. Log is needed.
type Options struct {
	// Sources are in the order of precedence: of policies of the same kind,
	// namespace, name and mode that of the later source counts.
	Sources []Source
	// Strict makes an error of what KubeArmor would pass over.
	Strict bool
	Log    *slog.Logger
}

// Hub merges what sources report. Its methods may be called from any goroutine.
type Hub struct {
	strict bool
	log    *slog.Logger

	mu       sync.Mutex
	sources  []*source
	snapshot *Snapshot
	changed  chan struct{}     // closed when there is another snapshot
	said     map[string]string // what of policies the log was told and is still so
}

// source is a Source and what it reported last.
type source struct {
	Source
	delivered bool
	reported  State
	places    map[string]*place
}

// place is where a text of a source is.
type place struct {
	text     Text
	policies []Policy // of the last time that it was right
	err      error    // of the present text
}

// Snapshot is what all sources say at one time. It does not change.
type Snapshot struct {
	// Generation counts the snapshots of this process, from 1. In the first no
	// source has reported.
	Generation uint64
	// Sources are in the order of precedence.
	Sources []Merged
}

// Merged is what counts of one source.
type Merged struct {
	Name string
	// Pending is that the source has not reported yet: what others know from it
	// from before still holds.
	Pending    bool
	Policies   []Policy   // without those that a later one replaces
	Replaced   []Replaced // those
	Wrong      []Wrong    // places at which something is wrong
	Namespaces map[string]spolicy.Settings
	Pods       map[string]spolicy.Settings
}

// Replaced is a policy that does not count, and where the one is that does.
type Replaced struct {
	Key        Key
	At         string // "file:line"
	BySource   string
	ByPolicyAt string
}

// Wrong is a place whose text is wrong: what it said before stays in force.
type Wrong struct {
	Place string
	Err   error
}

// New makes a hub that knows nothing yet.
func New(o Options) *Hub {
	h := &Hub{strict: o.Strict, log: o.Log, changed: make(chan struct{}), said: map[string]string{}}
	for _, s := range o.Sources {
		h.sources = append(h.sources, &source{Source: s})
	}
	h.snapshot = h.merge(1)
	return h
}

// Run runs the sources until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, s := range h.sources {
		running.Go(func() {
			s.Run(ctx, func(state State) []Outcome { return h.report(s, state) })
		})
	}
	running.Wait()
}

// Snapshot is the latest.
func (h *Hub) Snapshot() *Snapshot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.snapshot
}

// Next waits until there is a snapshot with a generation after the given one, and
// gives the latest. Its error is ctx's.
func (h *Hub) Next(ctx context.Context, after uint64) (*Snapshot, error) {
	for {
		h.mu.Lock()
		snapshot, changed := h.snapshot, h.changed
		h.mu.Unlock()
		if snapshot.Generation > after {
			return snapshot, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// report takes the state of a source.
func (h *Hub) report(s *source, state State) []Outcome {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := within(state.Texts); err != nil {
		h.log.Error("what a source of policies has is not taken: what it had before stays in force", "from", s.Name(), "error", err)
		return everyOne(state.Texts, s.places, err)
	}
	places, outcomes := make(map[string]*place, len(state.Texts)), make([]Outcome, len(state.Texts))
	for i, text := range state.Texts {
		p := h.place(s, text)
		places[text.Place] = p
		outcomes[i] = Outcome{Policies: p.policies, Err: p.err}
	}
	if s.delivered && reflect.DeepEqual(s.reported, state) {
		return outcomes
	}
	s.delivered, s.reported, s.places = true, state, places
	h.snapshot = h.merge(h.snapshot.Generation + 1)
	close(h.changed)
	h.changed = make(chan struct{})
	h.log.Info("policies have changed", "from", s.Name(), "generation", h.snapshot.Generation, "policies", h.snapshot.policies())
	return outcomes
}

// place reads a text, unless it is the one that was there before, and keeps what
// was right before where it is wrong.
func (h *Hub) place(s *source, text Text) *place {
	before := s.places[text.Place]
	if before != nil && before.text == text {
		return before
	}
	read, err := Read(text, h.strict)
	if err == nil {
		return &place{text: text, policies: read}
	}
	p := &place{text: text, err: err}
	if before != nil {
		p.policies = before.policies
	}
	h.log.Error("policies are wrong: what they said before stays in force", "from", s.Name(), "place", text.Place,
		"policies", len(p.policies), "errors", lines(err))
	return p
}

// ErrTooMuch is that a source has more than is taken.
var ErrTooMuch = errors.New("too much")

// within says what is wrong with the texts together.
func within(texts []Text) error {
	bytes, places := 0, make(map[string]bool, len(texts))
	for _, t := range texts {
		bytes += len(t.Body)
		if places[t.Place] {
			return fmt.Errorf("there are two texts of one place, %s", t.Place)
		}
		places[t.Place] = true
	}
	switch {
	case len(texts) > MaxPolicies:
		return fmt.Errorf("%w: %d policies, of at most %d", ErrTooMuch, len(texts), MaxPolicies)
	case bytes > MaxBytes:
		return fmt.Errorf("%w: %d bytes of policies, of at most %d", ErrTooMuch, bytes, MaxBytes)
	}
	return nil
}

// everyOne gives the same error for all texts.
func everyOne(texts []Text, places map[string]*place, err error) []Outcome {
	outcomes := make([]Outcome, len(texts))
	for i, t := range texts {
		outcomes[i].Err = err
		if p := places[t.Place]; p != nil {
			outcomes[i].Policies = p.policies
		}
	}
	return outcomes
}

func (s *Snapshot) policies() (n int) {
	for _, source := range s.Sources {
		n += len(source.Policies)
	}
	return n
}

// merge makes the snapshot that follows from what was reported. h.mu is held.
func (h *Hub) merge(generation uint64) *Snapshot {
	m := merger{Hub: h, last: map[Key]origin{}, now: map[string]string{}}
	for _, s := range h.sources {
		for _, t := range s.reported.Texts {
			for i := range s.places[t.Place].policies {
				p := &s.places[t.Place].policies[i]
				m.last[KeyOf(&p.Document)] = origin{s.Name(), p}
			}
		}
	}
	snapshot := &Snapshot{Generation: generation}
	for _, s := range h.sources {
		merged := Merged{Name: s.Name(), Pending: !s.delivered, Namespaces: maps.Clone(s.reported.Namespaces), Pods: maps.Clone(s.reported.Pods)}
		for _, t := range s.reported.Texts {
			place := s.places[t.Place]
			for i := range place.policies {
				m.add(&merged, &place.policies[i])
			}
			if place.err != nil {
				merged.Wrong = append(merged.Wrong, Wrong{t.Place, place.err})
			}
		}
		snapshot.Sources = append(snapshot.Sources, merged)
	}
	h.said = m.now
	return snapshot
}
