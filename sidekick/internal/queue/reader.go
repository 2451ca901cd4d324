package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

const reopenDelay = time.Second

// Reader reads one stream for one output, in order. What is read and not
// acknowledged comes again after a restart. Next is for one goroutine; the other
// methods may be called from any.
//
// The output's position is a message of ours, which is on disk when Ack returns.
// A consumer of the server that keeps the position is up to 100 ms behind what it
// was told, and cannot say in one message which of a thousand events are done.
type Reader struct {
	q      *Queue
	stream Stream
	name   string
	log    *slog.Logger

	cursor uint64  // last sequence that came from the store
	pull   *puller // nil while it is not open

	storing sync.Mutex // orders the positions that are stored

	undecodable atomic.Int64 // events that were set aside

	lag lag

	mu       sync.Mutex
	pos      position // guarded by mu; open is what was read and not acknowledged
	isStored bool     // guarded by mu; the store has a position, which may be older
}

// Reader gives the reader of an output, whose name is made of letters, digits,
// "-" and "_". An output that was never seen starts with the oldest event that is
// still held. There is one reader for an output and a stream.
func (q *Queue) Reader(ctx context.Context, output string, s Stream) (*Reader, error) {
	if output == "" || strings.ContainsAny(output, ".*> \t\r\n/\\") {
		return nil, fmt.Errorf("read for output %q: not a name", output)
	}
	r := &Reader{q: q, stream: s, name: output, log: q.log.With("output", output, "stream", string(s))}
	if err := r.open(ctx); err != nil {
		return nil, fmt.Errorf("read %s for output %s: %w", s, output, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.readers = append(q.readers, r)
	return r, nil
}

// readersOf gives the readers of a stream.
func (q *Queue) readersOf(s Stream) []*Reader {
	q.mu.Lock()
	defer q.mu.Unlock()
	var of []*Reader
	for _, r := range q.readers {
		if r.stream == s {
			of = append(of, r)
		}
	}
	return of
}

func (r *Reader) open(ctx context.Context) error {
	stream, err := r.q.js.Stream(ctx, string(r.stream))
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	if err := r.locate(ctx, info); err != nil {
		return err
	}
	// The server's consumer only walks along the stream, from where it is told. A
	// durable one stays while nothing is asked of it for hours.
	if err := stream.DeleteConsumer(ctx, r.name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	_, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       r.name,
		MemoryStorage: true,
		AckPolicy:     jetstream.AckNonePolicy,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   r.cursor + 1,
	})
	if err != nil {
		return err
	}
	r.pull, err = newPuller(r.q.conn, r.stream, r.name)
	return err
}

// locate finds out where to read on. After trouble of the store that is where the
// reader is, unless the stream is another now.
func (r *Reader) locate(ctx context.Context, info *jetstream.StreamInfo) error {
	created := info.Created.UnixNano()
	r.mu.Lock()
	known := r.pos.created == created
	r.mu.Unlock()
	if known {
		return nil
	}
	stored, err := r.stored(ctx)
	if err != nil {
		return err
	}
	if stored.created != created {
		stored = position{created: created}
	}
	// A crash of the machine can have cost the end of the stream. New events take
	// the numbers of those, so the position must go back before they come.
	back := stored.last > info.State.LastSeq
	if back {
		stored.last = info.State.LastSeq
		stored.open = stored.open.upTo(stored.last)
	}
	r.mu.Lock()
	r.isStored = stored.last > 0 || len(stored.open) > 0
	r.pos, r.cursor = stored, stored.floor()
	r.mu.Unlock()
	if back {
		return r.store(ctx)
	}
	return nil
}

// Next waits for the next event and gives it with its size as stored and its
// number. The error is ctx's or that of a closed queue: trouble of the store is
// logged and waited out.
func (r *Reader) Next(ctx context.Context) (event schema.Event, size int, seq uint64, err error) {
	for {
		msg, seq, err := r.message(ctx)
		if err != nil {
			return schema.Event{}, 0, 0, err
		}
		var e schema.Event
		if err := e.UnmarshalJSON(msg.Data); err != nil {
			r.setAside(ctx, msg, seq, err)
			continue
		}
		return e, len(msg.Data), seq, nil
	}
}

func (r *Reader) message(ctx context.Context) (*nats.Msg, uint64, error) {
	for {
		if err := r.ready(ctx); err != nil {
			return nil, 0, err
		}
		msg, err := r.pull.next(ctx)
		if err != nil && ctx.Err() != nil {
			return nil, 0, ctx.Err() // with a message it would be lost
		}
		if err != nil {
			r.log.Warn("reading the queue failed, trying again", "error", err)
			r.Close()
			continue
		}
		meta, err := msg.Metadata()
		if err != nil {
			return nil, 0, fmt.Errorf("read %s: %w", r.stream, err)
		}
		if !r.pull.follows(meta.Sequence.Consumer) {
			r.log.Warn("events of the queue were dropped on their way, reading them again")
			r.Close()
			continue
		}
		seq := meta.Sequence.Stream
		if !r.take(seq) {
			continue
		}
		if only := msg.Header.Get(headerOnly); only != "" && only != r.name {
			r.skip(ctx, seq)
			continue
		}
		return msg, seq, nil
	}
}

// take says whether a message is to be read, and notes that it is.
func (r *Reader) take(seq uint64) bool {
	if seq <= r.cursor {
		return false
	}
	r.cursor = seq
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq <= r.pos.last {
		return r.pos.open.has(seq) // read before the last restart
	}
	r.pos.last = seq
	r.pos.open = r.pos.open.add(seq)
	return true
}

// ready opens the reader again after trouble, however often it takes.
func (r *Reader) ready(ctx context.Context) error {
	for r.pull == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reopenDelay):
		}
		if r.q.conn.IsClosed() {
			return errors.New("queue is closed")
		}
		if err := r.open(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("opening the queue failed, trying again", "error", err)
		}
	}
	return nil
}

// setAside keeps what cannot be decoded for a human to look at. If even that
// fails it stays in the stream for as long as the stream holds it.
func (r *Reader) setAside(ctx context.Context, msg *nats.Msg, seq uint64, cause error) {
	if r.q.setAside(ctx, r.name, msg.Data, cause, r.log) {
		r.undecodable.Add(1)
		r.skip(ctx, seq)
	}
}

// skip acknowledges what is not for the reader's user.
func (r *Reader) skip(ctx context.Context, seq uint64) {
	if err := r.Ack(ctx, seq); err != nil {
		r.log.Warn("position was not stored", "error", err)
	}
}

// Close stops reading; the position stays.
func (r *Reader) Close() {
	if r.pull != nil {
		r.pull.close()
		r.pull = nil
	}
}

// Ack says that events need not come again. They may be any of those that were
// read, in any order. When it returns nil a kill of this process does not bring
// them back; after an error the next Ack makes up for it.
func (r *Reader) Ack(ctx context.Context, seqs ...uint64) error {
	if !slices.IsSorted(seqs) {
		seqs = slices.Sorted(slices.Values(seqs))
	}
	r.mu.Lock()
	r.pos.open = r.pos.open.without(seqs)
	r.mu.Unlock()
	return r.store(ctx)
}

// Pending is how many events of the stream are not acknowledged, read or not.
func (r *Reader) Pending(ctx context.Context) (int, error) {
	stream, err := r.q.js.Stream(ctx, string(r.stream))
	if err != nil {
		return 0, fmt.Errorf("count what is left for %s: %w", r.name, err)
	}
	return r.pending(stream.CachedInfo().State), nil
}

func (r *Reader) pending(state jetstream.StreamState) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.pos.open.count()
	if next := max(r.pos.last+1, state.FirstSeq); state.LastSeq >= next {
		n += state.LastSeq - next + 1
	}
	return int(n)
}

// floor is the last sequence up to which everything is acknowledged.
func (r *Reader) floor() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pos.floor()
}

func positionSubject(s Stream, output string) string {
	return "positions." + string(s) + "." + output
}

// store has the position stored.
func (r *Reader) store(ctx context.Context) error {
	r.storing.Lock()
	defer r.storing.Unlock()
	r.mu.Lock()
	value := r.pos.encode()
	r.mu.Unlock()
	if _, err := r.q.js.Publish(ctx, positionSubject(r.stream, r.name), value); err != nil {
		return fmt.Errorf("store position of %s: %w", r.name, err)
	}
	r.mu.Lock()
	r.isStored = true
	r.mu.Unlock()
	return nil
}

// stored is the position as it was stored last; the zero value when there is none.
func (r *Reader) stored(ctx context.Context) (position, error) {
	text, err := r.q.recorded(ctx, positionSubject(r.stream, r.name))
	if err != nil {
		return position{}, fmt.Errorf("read position: %w", err)
	}
	if text == "" {
		return position{}, nil
	}
	p, err := parsePosition(text)
	if err != nil {
		// To start again with what is held is better than not to start.
		r.log.Error("stored position cannot be read, everything that is held comes again", "error", err)
		return position{}, nil
	}
	return p, nil
}
