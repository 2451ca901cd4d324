package emit

import (
	"bytes"
	"context"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/sidearmor/sidearmor/schema"
)

// muchMemory is what a backlog must have taken, in bytes, for it to be worth a
// collection to give the memory back at once.
const muchMemory = 4 << 20

// sendAll sends until the buffer of a closed emitter is empty, until it has
// become pointless, or until ctx ends.
func (e *Emitter) sendAll(ctx context.Context) {
	for e.gather(ctx) {
		batch := e.batch()
		if len(batch) > 0 && !e.deliver(ctx, batch) {
			return
		}
		if e.buffer.emptied(muchMemory) && !e.isClosing() {
			debug.FreeOSMemory() // the workload may want it
		}
	}
}

// gather waits until there is something to send, and reports false at the end.
func (e *Emitter) gather(ctx context.Context) bool {
	for ctx.Err() == nil {
		b := e.buffer.backlog()
		due, wait := e.due(b)
		if e.isClosing() {
			return b.lines > 0 || b.lost
		}
		var timer <-chan time.Time
		if wait {
			left := time.Until(due)
			if left <= 0 {
				return true
			}
			timer = time.After(left)
		}
		select {
		case <-e.arrived:
		case <-timer:
		case <-e.closing:
		case <-ctx.Done():
		}
	}
	return false
}

// due says when the next batch must go; ok is false while there is no reason
// for one.
func (e *Emitter) due(b backlog) (at time.Time, ok bool) {
	maxBytes, maxEvents := e.batchLimits()
	if b.lines >= maxEvents || b.bytes >= maxBytes {
		return time.Time{}, true
	}
	if b.lines > 0 {
		at, ok = b.oldest.Add(maxBatchAge), true
	}
	if b.lost && e.way.up {
		if report := e.way.reported.Add(reportEvery); !ok || report.Before(at) {
			at, ok = report, true
		}
	}
	return at, ok
}

func (e *Emitter) batchLimits() (size, events int) {
	if e.options.Format == Falco {
		return maxBatchBytes, 1
	}
	return maxBatchBytes, maxBatchEvents
}

// batch takes the next lines, or the report of what was lost. The report goes
// alone, after a batch has shown that the line is back, or at the very end.
func (e *Emitter) batch() []line {
	now := time.Now()
	b := e.buffer.backlog()
	last := e.isClosing() && b.lines == 0
	if b.lost && (last || e.way.up && now.Sub(e.way.reported) >= reportEvery) {
		e.way.reported = now
		if report, ok := e.report(now); ok {
			return []line{report}
		}
	}
	return e.buffer.takeLines(e.batchLimits())
}

func (e *Emitter) origin() schema.Origin {
	if e.options.Origin == nil {
		return schema.Origin{}
	}
	return e.options.Origin()
}

func (e *Emitter) report(now time.Time) (line, bool) {
	l := e.buffer.takeLoss()
	ev := l.event(e.origin(), now)
	e.logger.Warn("events were lost", "alerts", l.count[anAlert], "logs", l.count[aLog], "since", l.since)
	r := line{kind: anAlert, report: true}
	e.encoder.encode(&ev, func(text []byte, err error) {
		if err != nil {
			e.logger.Error("the report of loss cannot be sent", "error", err)
			return
		}
		r.text = bytes.Clone(text)
	})
	return r, r.text != nil
}

// deliver sends a batch, in parts where the sidekick refuses the whole. It
// reports false if it gave up; what is left then stays pending.
func (e *Emitter) deliver(ctx context.Context, batch []line) bool {
	for todo := [][]line{batch}; len(todo) > 0; {
		next := todo[len(todo)-1]
		a, ok := e.persist(ctx, next)
		if !ok {
			return false
		}
		todo = todo[:len(todo)-1]
		if a.fate == taken {
			e.settle(next, a)
			continue
		}
		for _, part := range e.divide(next, a) {
			if len(part) > 0 {
				todo = append(todo, part)
			}
		}
	}
	return true
}

// persist posts one batch, under one key, until it is taken or refused.
func (e *Emitter) persist(ctx context.Context, batch []line) (answer, bool) {
	key := uuid.NewString()
	pause := backoff{}
	for {
		e.requests.Add(1)
		a := e.client.post(ctx, key, batch)
		if a.known {
			e.answered.Store(true)
		}
		if a.fate != retry {
			e.lineUp()
			return a, true
		}
		if ctx.Err() != nil {
			return a, false
		}
		e.lineDown(a)
		if e.quiet() || a.barred {
			pause.top = 10 * time.Second // nobody asked for it, or a token must change first: knock softly
			if e.quiet() && e.isClosing() {
				return a, false
			}
		} else {
			pause.top = 2 * time.Second
		}
		if !e.wait(ctx, max(pause.step(), a.after)) {
			return a, false
		}
	}
}

func (e *Emitter) lineUp() {
	if e.way.down {
		e.logger.Info("the sidekick takes events again")
	}
	e.way.up, e.way.down, e.way.barred = true, false, false
}

// lineDown logs the first failure of a row, and the first refusal of the token in
// it: at the default address that is nothing to warn of.
func (e *Emitter) lineDown(a answer) {
	log := e.logger.Warn
	if e.quiet() {
		log = e.logger.Info
	}
	switch {
	case a.barred && !e.way.barred:
		log("the sidekick refuses the token, or wants one: events are kept and sent again", "error", a.err)
	case !e.way.down:
		log("the sidekick does not take events, they are kept and sent again", "error", a.err)
	}
	e.way.up, e.way.down = false, true
	e.way.barred = e.way.barred || a.barred
}

// settle accounts for a batch that was taken, except for items it rejected.
func (e *Emitter) settle(batch []line, a answer) {
	for i := range batch {
		rejection, bad := a.rejected[i]
		if bad {
			e.logger.Error("the sidekick refuses an event", "error", rejection)
		} else if !batch[i].report {
			e.delivered.Add(1)
		}
		e.buffer.settle(&batch[i], !bad, refused)
	}
}

// divide drops the item that made the sidekick refuse a batch, if that is
// known, and gives the rest; else it gives the halves. The later part is first.
func (e *Emitter) divide(batch []line, a answer) [2][]line {
	if len(batch) == 1 {
		a.item = 0
	}
	if a.item < 0 || a.item >= len(batch) {
		half := len(batch) / 2
		return [2][]line{batch[half:], batch[:half]}
	}
	e.logger.Error("the sidekick refuses an event", "error", a.err)
	e.buffer.settle(&batch[a.item], false, refused)
	return [2][]line{batch[a.item+1:], batch[:a.item]}
}
