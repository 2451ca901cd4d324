package dispatch

import (
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/sidekick/internal/digest"
)

const (
	// A batch that fails for the third time is sent in parts: one event in it may be
	// at fault.
	partAfter = 3
	partBy    = 4

	// What fails alone may be at fault, or its service is out of order: that shows
	// when another event is sent ahead of it. With one request in flight that
	// changes the order, so it has to have failed for so long, and many times in
	// quick succession; if the other one fails too, it is not done again for a while.
	suspectAfter = 20 * time.Second
	insistTimes  = 10
	insistLeast  = 3
	insistPause  = 250 * time.Millisecond
	insistTime   = 15 * time.Second
	probesAtOnce = 3
	quietTime    = 5 * time.Minute

	// Where an event was found to be at fault, others may be like it: so long, less
	// patience will do.
	wariness = time.Hour

	// maxRemoved is how often the examples of a digest are taken out because its message
	// fails while others get through. Then all of it is given up.
	maxRemoved = 5

	// remindAfter is how often the log says of an output that it still fails.
	remindAfter = 15 * time.Minute
)

// lane is one of the two streams of an output.
type lane struct {
	reader  Reader // nil when the output does not get the stream
	batches chan *batch
	holder  holder
	aside   aside
	late    []item // read when they had already left the backlog

	inFlight int       // parcels
	busy     bool      // with a chore
	chores   time.Time // no chore before

	size     int           // of a batch, at most; 0 for no limit
	failures int           // attempts that failed one after another
	failing  time.Time     // since when
	failed   time.Time     // the last one
	taken    time.Time     // when something last got through
	took     time.Duration // how long that took
	cuts     int           // requests that were cut since
	resume   time.Time     // no attempt before
	pause    time.Time     // nothing is sent before: the service asked for it
	said     time.Time     // when the log last told of it
	trouble  trouble

	suspicious bool      // the first event may be at fault: another one is wanted
	alone      bool      // there is no other one
	overtaken  bool      // by another one that got through
	probes     int       // that failed too, in all
	refusals   int       // of this round
	insisted   int       // attempts in quick succession
	insisting  time.Time // since when
	quiet      time.Time // nothing is sent ahead before
	wary       time.Time // an event was found to be at fault
}

// intake is where the next batch comes from, when there is room for one.
func (l *lane) intake() chan *batch {
	if l.holder.ready() && len(l.late) == 0 {
		return l.batches
	}
	return nil
}

// fellBehind is closed when behind has changed.
func (l *lane) fellBehind() <-chan struct{} {
	if r, ok := l.reader.(Lagging); ok {
		_, changed := r.Behind()
		return changed
	}
	return nil
}

// behind is the sequence up to which events have left the backlog.
func (l *lane) behind() uint64 {
	if r, ok := l.reader.(Lagging); ok {
		behind, _ := r.Behind()
		return behind
	}
	return 0
}

func (l *lane) add(b *batch) {
	behind := l.behind()
	if n := len(b.items); n > 0 && b.items[0].Seq <= behind {
		var on []item
		for _, it := range b.items {
			if it.Seq <= behind {
				l.late = append(l.late, it)
			} else {
				on = append(on, it)
			}
		}
		b.items = on
	}
	l.alone = false
	l.holder.add(b)
}

// chore gives what needs no receiver.
func (l *lane) chore(now time.Time) *parcel {
	behind := l.behind()
	if len(l.late) > 0 {
		p := &parcel{items: l.late, dead: deadLag, behind: behind}
		l.late = nil
		return p
	}
	if p := l.holder.chore(now, behind); p != nil {
		return p
	}
	return l.aside.chore(now, behind, l.failures > 0)
}

// next gives what is to be sent now, nil for nothing. While the last attempt
// failed, one thing is tried at a time.
func (l *lane) next(now time.Time) *parcel {
	if l.failures > 0 && l.inFlight > 0 || now.Before(l.pause) {
		return nil
	}
	if l.suspicious {
		// Those next to it may be at fault as well: in time, each within reach is tried.
		if p := l.holder.probe(now, 1+5*l.probes%61); p != nil {
			p.probe = true
			return p
		}
		l.alone = true
	}
	if now.Before(l.resume) {
		return nil
	}
	if p := l.holder.take(now, l.size); p != nil {
		return p
	}
	if l.failures > 0 {
		return nil
	}
	return l.aside.take(now)
}

// ready is when next will give something; false for nothing known.
func (l *lane) ready(now time.Time) (time.Time, bool) {
	if l.failures > 0 && l.inFlight > 0 {
		return time.Time{}, false
	}
	at, some := l.holder.due(now)
	if l.failures == 0 {
		if due := l.aside.due(); !due.IsZero() && (!some || due.Before(at)) {
			at, some = due, true
		}
	}
	if l.suspicious && !l.alone {
		return l.pause, true // at once: later, the service may be back
	}
	return latest(at, latest(l.resume, l.pause)), some
}

// wake is when there will be something to do other than to send; zero for never.
func (l *lane) wake() time.Time {
	at := earlier(l.holder.wake(), l.aside.wake(l.failures > 0))
	if !at.IsZero() {
		at = latest(at, l.chores)
	}
	if l.failures > 0 {
		at = earlier(at, l.said.Add(remindAfter))
	}
	return at
}

// missed notes that the first parcel failed, and gives the time until the next
// attempt. ordered says that nothing should overtake it.
func (l *lane) missed(p *parcel, f *failure, now time.Time, ordered bool) time.Duration {
	if l.failures == 0 {
		l.failing = now
	}
	l.failures++
	l.failed = now
	wait := backoff(l.failures, f.retryAfter, rand.Float64())
	if f.class == outputs.RateLimited {
		return wait // that is not about the events
	}
	if l.size > 0 || l.failures >= partAfter {
		l.size = max(1, len(p.items)/partBy)
	}
	l.holder.look(true)
	t := p.history()
	least := 1
	if ordered {
		least = partAfter
	}
	switch careful := ordered && (l.wary.IsZero() || now.Sub(l.wary) > wariness); {
	case !p.alone() || t.Count < least || now.Before(l.quiet):
	case careful && (f.retryAfter > 0 || now.Sub(t.First) < suspectAfter):
	case careful && l.insist(now):
		return insistPause
	default:
		l.suspicious, l.alone = true, false
	}
	return wait
}

// insist says whether to try the same again at once.
func (l *lane) insist(now time.Time) bool {
	if l.insisted == 0 {
		l.insisting = now
	}
	l.insisted++
	return l.insisted < insistLeast || l.insisted < insistTimes && now.Sub(l.insisting) < insistTime
}

// refuted notes that what was sent ahead failed too. It is the service, if that is
// so of some.
func (l *lane) refuted(now time.Time, ordered bool) {
	l.probes++
	if l.refusals++; ordered && l.refusals < probesAtOnce {
		return
	}
	l.suspicious, l.insisted, l.refusals = false, 0, 0
	if ordered && l.wary.IsZero() {
		l.quiet = now.Add(quietTime)
	}
}

// works notes that something got through.
func (l *lane) works(now time.Time, batch int) {
	if l.failures > 0 {
		l.aside.restart(now)
	}
	l.failures, l.probes, l.refusals, l.insisted, l.cuts, l.suspicious = 0, 0, 0, 0, 0, false
	l.taken, l.quiet, l.resume = now, time.Time{}, time.Time{}
	l.holder.look(false)
	if l.size > 0 {
		if l.size *= 2; l.size >= batch {
			l.size = 0
		}
	}
}

// setAside has what failed while others got through tried apart from them. Of a
// digest only its examples are in the message: they go, and the rest is told with
// others, some times.
func (l *lane) setAside(p *parcel, now time.Time) {
	if p.aggregate == nil {
		l.aside.add(p, now)
		return
	}
	t := p.aggregate
	for _, it := range t.Examples {
		l.aside.add(&parcel{items: []item{it}, tries: t.Attempts}, now)
		t.Remove(it.Seq)
	}
	t.Examples, t.Attempts = nil, digest.Attempts{Reason: t.Attempts.Reason}
	t.Removed++
	if t.Count == 0 {
		p.aggregate = nil
		l.holder.done(p, now)
		return
	}
	if t.Removed >= maxRemoved {
		t.GivenUp = true
	}
	l.holder.back(p, now)
}

// loud says whether the log is to tell of one more failure: of the first, second,
// fourth, eighth and so on, and now and then.
func (l *lane) loud(now time.Time) bool {
	if bits.OnesCount(uint(l.failures)) != 1 && now.Sub(l.said) < remindAfter {
		return false
	}
	l.said = now
	return true
}
