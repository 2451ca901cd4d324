package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

// ErrFull is why an event was refused that may be taken later.
var ErrFull = errors.New("queue is full")

// TooLargeError is why an event was refused that will never be taken.
type TooLargeError struct {
	Bytes int // encoded
	Most  int // that are taken
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("event has %d bytes as stored, at most %d", e.Bytes, e.Most)
}

// Permanent says that to try again is of no use.
func (e *TooLargeError) Permanent() bool { return true }

// PublishError says which events were not stored; all the others were.
type PublishError struct {
	Failed map[int]error // by index; each wraps ErrFull, a *TooLargeError or something that may pass
}

func (e *PublishError) Error() string {
	first := slices.Min(e.indexes())
	return fmt.Sprintf("store %d events: event %d: %v", len(e.Failed), first, e.Failed[first])
}

// Unwrap gives the reasons.
func (e *PublishError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, i := range e.indexes() {
		errs = append(errs, e.Failed[i])
	}
	return errs
}

// Refused gives the reason by index of event.
func (e *PublishError) Refused() map[int]error { return e.Failed }

func (e *PublishError) indexes() []int {
	at := make([]int, 0, len(e.Failed))
	for i := range e.Failed {
		at = append(at, i)
	}
	slices.Sort(at)
	return at
}

// Publish stores events, each in its stream and in the given order; when it
// returns nil, a kill of this process loses none of them. With once, all events
// have IDs "<key>-<index>" of one batch, and those that are stored already are not
// stored again: so it is known of the last 32,768 batches, or of the newest 100,000
// events of each stream after a restart. What could not be stored is in a
// *PublishError. ctx ends the wait for a turn, not the storing. A cluster recognises
// events by their IDs for two minutes, by whatever member they come.
func (q *Queue) Publish(ctx context.Context, events []schema.Packed, once bool) error {
	select {
	case q.slots <- struct{}{}:
		defer func() { <-q.slots }()
	case <-ctx.Done():
		return fmt.Errorf("wait to store: %w", ctx.Err())
	}
	p := &publication{q: q, events: events, failed: map[int]error{}, reclaimed: q.space.reclaimed.Load()}
	if once && len(events) > 0 {
		if err := q.remember(ctx); err != nil {
			return err
		}
		key, _ := batchOf(events[0].ID)
		state, err := q.batches.begin(ctx, key)
		if err != nil {
			return fmt.Errorf("wait for the same batch: %w", err)
		}
		defer q.batches.end(state)
		if state.unsure {
			if err := q.makeSure(ctx, key, state); err != nil {
				return err
			}
		}
		p.batch = state
	}
	if q.cluster != nil {
		p.inParts(chunk, p.chunkForCluster)
	} else {
		p.inParts(commitMost, p.chunk)
	}
	if len(p.failed) > 0 {
		p.retryRefused()
	}
	if len(p.failed) > 0 {
		p.countRefused()
		return &PublishError{Failed: p.failed}
	}
	return nil
}

// publication is one call of Publish.
type publication struct {
	q         *Queue
	events    []schema.Packed
	batch     *batchState   // nil where nothing is to be recognised
	failed    map[int]error // by index
	gaveUp    bool          // the cluster does not answer
	reclaimed uint64        // how often space had been reclaimed when it began to store
}

func (p *publication) inParts(size int, store func(from, to int)) {
	for from := 0; from < len(p.events); from += size {
		store(from, min(from+size, len(p.events)))
	}
}

// chunk stores some of the events. It waits for the store whatever becomes of the
// sender, since a batch that comes again must find out what is stored; the store
// answers within ackTimeout, or counts as not answering.
func (p *publication) chunk(from, to int) {
	p.q.watchDisk()
	at := make([]int, 0, to-from)
	for _, r := range []*appender{p.q.alerts, p.q.logs} {
		at = at[:0]
		for i := from; i < to; i++ {
			if streamOf(p.events[i].Kind) == r.stream {
				at = append(at, i)
			}
		}
		if len(at) > 0 {
			r.store(p, at)
		}
	}
}

// send stores the events of these indexes, with an answer for each.
func (p *publication) send(at []int) {
	for some := range slices.Chunk(at, chunk) {
		p.sendSome(some)
	}
}

func (p *publication) sendSome(at []int) {
	futures := make([]jetstream.PubAckFuture, len(at))
	for n, i := range at {
		msg, err := p.message(&p.events[i])
		if err == nil && msg != nil {
			futures[n], err = p.q.js.PublishMsgAsync(msg)
		}
		if err != nil {
			p.failed[i] = err
		}
	}
	for n, f := range futures {
		if f == nil {
			continue
		}
		select {
		case <-f.Ok():
			p.stored(&p.events[at[n]])
		case err := <-f.Err():
			p.failed[at[n]] = storeError(err)
			var answer *jetstream.APIError
			if p.batch != nil && p.q.cluster == nil && !errors.As(err, &answer) {
				p.batch.unsure = true
			}
		}
	}
}

func (p *publication) countRefused() {
	for i, err := range p.failed {
		switch {
		case !errors.Is(err, ErrFull):
		case streamOf(p.events[i].Kind) == Logs:
			p.q.refusedLogs.Add(1)
		default:
			p.q.refusedAlerts.Add(1)
		}
	}
}

func (p *publication) stored(e *schema.Packed) {
	if p.batch != nil {
		_, index := batchOf(e.ID)
		p.q.batches.add(p.batch, index)
	}
}

// known says whether an event is stored already.
func (p *publication) known(e *schema.Packed) bool {
	if p.batch == nil {
		return false
	}
	_, index := batchOf(e.ID)
	return p.batch.has(index)
}

// message is nil for an event that is stored already.
func (p *publication) message(e *schema.Packed) (*nats.Msg, error) {
	if p.known(e) {
		return nil, nil
	}
	msg, err := p.q.message(e)
	if err == nil && p.q.cluster != nil {
		// So that it can be sent again when the cluster did not answer.
		msg.Header = nats.Header{jetstream.MsgIDHeader: []string{e.ID}}
	}
	return msg, err
}

func (q *Queue) message(e *schema.Packed) (*nats.Msg, error) {
	body, err := q.encode(nil, e)
	if err != nil {
		return nil, err
	}
	return &nats.Msg{Subject: streamOf(e.Kind).subject(), Data: body}, nil
}

// encode appends an event as it is stored.
func (q *Queue) encode(into []byte, e *schema.Packed) ([]byte, error) {
	if q.diskLow.Load() {
		return nil, fmt.Errorf("disk of %s: %w", q.dir, ErrFull)
	}
	body, err := e.AppendJSON(into)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	if len(body) > q.maxMessage {
		return nil, &TooLargeError{Bytes: len(body), Most: q.maxMessage}
	}
	return body, nil
}

// storeError turns the server's refusals into ours.
func storeError(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == errCodeStoreFailed || api.ErrorCode == errCodeInsufficientResources) {
		return fmt.Errorf("%w: %s", ErrFull, api.Description)
	}
	if errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected) {
		err = errNoConnection // the library's words speak of its buffers
	}
	return fmt.Errorf("store event: %w", err)
}

// Codes of the server's errors.json that the client has no names for.
const (
	errCodeStoreFailed           = 10077 // the stream's limits, as DiscardNew reports them
	errCodeInsufficientResources = 10023
	errCodeWrongLastMsgID        = 10070
)

// maxRetries bounds how often what was refused is stored once more: others may fill
// the space that was reclaimed.
const maxRetries = 8

// retryRefused stores once more what was refused because the stream was full, if space
// can be reclaimed, or another has reclaimed some meanwhile.
func (p *publication) retryRefused() {
	if p.q.cluster != nil {
		return
	}
	for range maxRetries {
		streams := p.full()
		if len(streams) == 0 || !p.q.reclaim(true, streams...) && p.q.space.reclaimed.Load() == p.reclaimed {
			return
		}
		p.reclaimed = p.q.space.reclaimed.Load()
		p.retry()
	}
}

// full is the streams that had no space for some of the events.
func (p *publication) full() (streams []Stream) {
	for _, s := range []Stream{Alerts, Logs} {
		for i, err := range p.failed {
			if errors.Is(err, ErrFull) && streamOf(p.events[i].Kind) == s {
				streams = append(streams, s)
				break
			}
		}
	}
	return streams
}

// retry stores the events for which there was no space.
func (p *publication) retry() {
	for from := 0; from < len(p.events); from++ {
		to := from
		for ; to < len(p.events) && errors.Is(p.failed[to], ErrFull); to++ {
			delete(p.failed, to)
		}
		for ; from < to; from += chunk {
			p.chunk(from, min(from+chunk, to))
		}
		from = to
	}
}
