package dispatch

import (
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

// maxExamples is how many events of a digest are shown.
const maxExamples = 3

// tally is alike events that wait to be told in one message. It keeps the first
// event and some that differ from it; of the others only that they are.
type tally struct {
	count       int
	first, last time.Time // when they happened
	resource    pattern
	examples    []item
	seqs        spans
	expires     time.Time // of the first
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
	d := &outputs.Digest{Count: t.count, First: t.first, Last: t.last, Resource: t.resource.String()}
	for i := range t.examples {
		d.Examples = append(d.Examples, t.examples[i].event)
	}
	return d
}

// dropFirst takes the first event out.
func (t *tally) dropFirst() {
	seq := t.seqs[0].from
	t.seqs.drop()
	t.count--
	t.examples = slices.DeleteFunc(t.examples, func(it item) bool { return it.seq == seq })
}
