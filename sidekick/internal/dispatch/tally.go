package dispatch

import (
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

// maxExamples is how many events of a digest are shown.
const maxExamples = 3

// maxBroken is how often the examples of a tally are taken out because its message
// fails while others get through. Then all of it is given up.
const maxBroken = 5

// tally is alike events that wait to be told in one message. It keeps the first
// event and some that differ from it; of the others only that they are.
type tally struct {
	count       int
	first, last time.Time // when they happened
	resource    pattern
	examples    []item
	seqs        spans
	expires     time.Time // of the first
	mixed       bool      // of several kinds
	groups      []uint64  // by which it is known to the feed; several after a merge

	tries  tries
	broken int  // so often its examples were taken out
	given  bool // up
}

func newTally(it item) *tally {
	at := it.event.Time()
	t := &tally{count: 1, first: at, last: at, resource: patternOf(resource(&it.event)), examples: []item{it}, expires: it.expires}
	t.seqs.add(it.seq)
	return t
}

// join takes one more event in; it gives what that costs: bytes of an example, and
// spans.
func (t *tally) join(it item, withExample bool) (bytes, spans int) {
	at := it.event.Time()
	t.count++
	t.first, t.last = earlier(t.first, at), later(t.last, at)
	t.resource = t.resource.merge(patternOf(resource(&it.event)))
	if t.seqs.add(it.seq) {
		spans = 1
	}
	if withExample && t.shows(&it) {
		t.examples = append(t.examples, it)
		bytes = it.size
	}
	return bytes, spans
}

func (t *tally) shows(it *item) bool {
	return len(t.examples) < maxExamples &&
		!slices.ContainsFunc(t.examples, func(other item) bool { return !differ(&other.event, &it.event) })
}

// merge takes in what came after t.
func (t *tally) merge(o *tally) {
	t.count += o.count
	t.first, t.last = earlier(t.first, o.first), later(t.last, o.last)
	t.resource = t.resource.merge(o.resource)
	for i := range o.examples {
		if t.shows(&o.examples[i]) {
			t.examples = append(t.examples, o.examples[i])
		}
	}
	t.seqs = append(t.seqs, o.seqs...)
	t.expires = earlier(t.expires, o.expires)
	t.mixed = t.mixed || o.mixed
	t.groups = append(t.groups, o.groups...)
}

// bytes is what the examples weigh.
func (t *tally) bytes() (n int) {
	for i := range t.examples {
		n += t.examples[i].size
	}
	return n
}

// digest is the tally as the outputs know it.
func (t *tally) digest() *outputs.Digest {
	d := &outputs.Digest{Count: t.count, First: t.first, Last: t.last, Resource: t.resource.String(), Mixed: t.mixed}
	for i := range t.examples {
		d.Examples = append(d.Examples, t.examples[i].event)
	}
	return d
}

// remove takes one event out, which is an example.
func (t *tally) remove(seq uint64) {
	t.seqs = t.seqs.without(seq)
	t.count--
}

// dropFirst takes the first event out.
func (t *tally) dropFirst() {
	seq := t.seqs[0].from
	t.seqs.drop()
	t.count--
	t.examples = slices.DeleteFunc(t.examples, func(it item) bool { return it.seq == seq })
}
