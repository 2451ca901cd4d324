package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"
)

const (
	poison = 100 // the event that one output refuses

	dead, slow, picky, healthy = "webhook-dead", "webhook-slow", "webhook-picky", "webhook-healthy"
)

var all = [...]string{dead, slow, picky, healthy}

// drill is a sidekick with an output for each kind of trouble, under a flood.
type drill struct {
	*testing.T
	s                    *sidekick
	slow, picky, healthy *hook
	flood                *flood
	flooding             chan error
}

// A dead output, a slow one, one that refuses an event, a flood of ever new alerts,
// and a kill in the middle of it: the healthy output has everything, the others what
// their budgets allow, and the numbers add up to what was accepted.
func TestDrill(t *testing.T) {
	count := 1536 // so that the dead letters become full
	if testing.Short() {
		count = 960
	}
	d := startDrill(t, count)
	d.reach(480) // some have left the backlogs
	d.checkFirstRun()

	// The kill comes while the healthy output has taken an event and the sidekick
	// does not know it yet, and while there is room for dead letters.
	caught := make(chan struct{})
	d.healthy.catch(640, func() { close(caught); time.Sleep(500 * time.Millisecond) })
	select {
	case <-caught:
	case <-time.After(2 * patience):
		t.Fatal("the healthy output does not get further")
	}
	d.s.kill()
	d.s.start()
	begun := d.begun()
	if err := <-d.flooding; err != nil {
		t.Fatal(err)
	}
	d.checkSecondRun(begun)
}

func startDrill(t *testing.T, count int) *drill {
	t.Helper()
	d := &drill{
		T: t, flooding: make(chan error, 1),
		slow: newHook(t, 100*time.Millisecond, 0), picky: newHook(t, 0, poison), healthy: newHook(t, 0, 0),
	}
	d.s = startSidekick(t, "QUEUE_MAX_BYTES=24MiB",
		"WEBHOOK_DEAD_ADDRESS=http://127.0.0.1:9/",
		"WEBHOOK_SLOW_ADDRESS="+d.slow.URL,
		"WEBHOOK_PICKY_ADDRESS="+d.picky.URL, "WEBHOOK_PICKY_BATCH=ndjson",
		"WEBHOOK_HEALTHY_ADDRESS="+d.healthy.URL, "WEBHOOK_HEALTHY_CONCURRENCY=4")
	d.flood = &flood{url: d.s.url(), count: count, keepUp: []*hook{d.picky, d.healthy}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	t.Cleanup(cancel)
	go func() { d.flooding <- d.flood.run(ctx) }()
	return d
}

// reach waits until so many events are accepted.
func (d *drill) reach(count int) {
	d.Helper()
	eventually(d.T, func() (bool, string) {
		n := int(d.flood.accepted.Load())
		return n >= count, fmt.Sprintf("%d events are accepted, %d answers were not 200", n, d.flood.refused.Load())
	})
}

// still stops the flood and the slow output, so that no number changes for long, until
// again is called.
func (d *drill) still() (accepted int, again func()) {
	d.flood.turn.Lock()
	d.slow.hold(true)
	return int(d.flood.accepted.Load()), func() {
		d.slow.hold(false)
		d.flood.turn.Unlock()
	}
}

// checkFirstRun finds every number exact: nothing was killed yet.
func (d *drill) checkFirstRun() {
	d.Helper()
	accepted, again := d.still()
	defer again()
	want := map[string]int{}
	for _, name := range all {
		want[name] = accepted
	}
	m := d.settled(want)
	d.checkReadyz(m)
	for name, h := range map[string]*hook{slow: d.slow, picky: d.picky, healthy: d.healthy} {
		// An attempt that failed may have been taken all the same.
		events, repeated := h.counts()
		of := m.of(name)
		if more := events - of.delivered; events == 0 || more < 0 || more > of.failed || repeated > of.failed {
			d.Errorf("%s took %d events, and %d too often; its numbers are %+v", name, events, repeated, of)
		}
	}
	letters := 0
	for _, name := range all {
		letters += m.of(name).letters
		if lost := m.of(name).lost; lost != 0 {
			d.Errorf("%s: %d events are lost, there is room for them as dead letters", name, lost)
		}
	}
	if held := m.get("sidearmor_dead_letters_held"); held != letters || m.of(dead).letters == 0 {
		d.Errorf("%d dead letters are held, %d were counted, of the dead output %+v", held, letters, m.of(dead))
	}
}

// begun gives what each output of the second run had to begin with, less what the
// flood had at that time: what of it the first run had done, as a negative number.
func (d *drill) begun() map[string]int {
	d.Helper()
	accepted, again := d.still()
	defer again()
	m := d.settled(nil)
	begun := map[string]int{}
	for _, name := range all {
		begun[name] = m.of(name).sum() - accepted
		if begun[name] >= 0 {
			d.Errorf("%s: of %d events that are accepted the second run has %+v", name, accepted, m.of(name))
		}
	}
	return begun
}

// checkSecondRun compares what is durable, and the numbers since the kill, with what
// was accepted.
func (d *drill) checkSecondRun(begun map[string]int) {
	d.Helper()
	accepted, again := d.still()
	defer again()
	want := map[string]int{}
	for _, name := range all {
		want[name] = accepted + begun[name]
	}
	m := d.settled(want)
	d.checkReadyz(m)
	for _, name := range all {
		d.Logf("%s since the kill: %+v", name, m.of(name))
	}
	letters := d.letters()
	listed := 0
	for _, of := range letters {
		listed += len(of)
	}
	if held := m.get("sidearmor_dead_letters_held"); held != listed {
		d.Errorf("%d dead letters are held and %d listed", held, listed)
	}
	if gone := m.get("sidearmor_dead_letters_lost_total"); gone != 0 {
		d.Errorf("%d dead letters gave way", gone)
	}

	// What was in flight comes again: four requests of one event, and one of many.
	d.checkComplete(d.healthy, healthy, accepted, 4)
	d.checkComplete(d.picky, picky, accepted-1, 100)
	if len(letters[healthy]) != 0 {
		d.Errorf("the healthy output has %d dead letters", len(letters[healthy]))
	}
	if len(letters[picky]) != 1 || !letters[picky][poison] || d.picky.has(poison) {
		d.Errorf("dead letters of the output that refuses event %d: %v", poison, letters[picky])
	}
	d.checkBudget(m.of(dead), dead, accepted, letters[dead], func(int) bool { return false })
	d.checkBudget(m.of(slow), slow, accepted, letters[slow], d.slow.has)
	if !testing.Short() && m.of(dead).lost == 0 {
		d.Errorf("the dead letters did not become full: %+v", m.of(dead))
	}
	if refused := d.flood.refused.Load(); refused != 0 {
		d.Errorf("%d answers were neither 200 nor cut off by the kill", refused)
	}
}

func (d *drill) checkComplete(h *hook, name string, want, inFlight int) {
	d.Helper()
	if events, repeated := h.counts(); events != want || repeated > inFlight {
		d.Errorf("%s took %d events of %d, and %d too often, at most %d were in flight", name, events, want, repeated, inFlight)
	}
}

// checkBudget checks that of an output that does not keep up the oldest events have
// left the backlog, no more than had to, and that each of them is known.
func (d *drill) checkBudget(of tally, name string, accepted int, letters map[int]bool, taken func(int) bool) {
	d.Helper()
	known, last := 0, 0
	for n := 1; n <= accepted; n++ {
		if letters[n] {
			last = n
		}
		if letters[n] || taken(n) {
			known++
		}
	}
	if last > accepted-of.pending {
		d.Errorf("%s: event %d is a dead letter, and %d newer ones wait", name, last, of.pending)
	}
	const stream = 16 << 20 / eventSize // two thirds of the queue are for alerts
	if of.pending > stream || of.pending < stream/2 {
		d.Errorf("%s: %d events wait, of %d for which there is room", name, of.pending, stream)
	}
	// An attempt that failed may have been taken all the same.
	if more := of.lost - (accepted - known - of.pending); more < 0 || more > of.failed {
		d.Errorf("%s: of %d events %d are taken or dead letters, that leaves more or less than %+v", name, accepted, known, of)
	}
}
