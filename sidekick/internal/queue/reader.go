package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

const (
	// Long enough that a batch which is retried for hours is rarely sent again
	// by the server; the reader drops what comes a second time.
	ackWait = time.Hour

	reopenDelay = time.Second
)

// Reader reads one stream for one output, in order, from where the output's last
// acknowledgement left it. It is for one goroutine; Ack may be called from another.
type Reader struct {
	q      *Queue
	stream Stream
	name   string
	log    *slog.Logger

	created int64 // of the stream, to tell its positions from those of one before it
	last    uint64
	pull    *puller // nil while it is not open
}

// Reader gives the reader of an output, whose name is made of letters, digits,
// "-" and "_". An output that was never seen starts with the oldest event that is
// still held.
func (q *Queue) Reader(ctx context.Context, output string, s Stream) (*Reader, error) {
	if output == "" || strings.ContainsAny(output, ".*> \t\r\n/\\") {
		return nil, fmt.Errorf("read for output %q: not a name", output)
	}
	r := &Reader{q: q, stream: s, name: output, log: q.log.With("output", output, "stream", string(s))}
	if err := r.open(ctx); err != nil {
		return nil, fmt.Errorf("read %s for output %s: %w", s, output, err)
	}
	return r, nil
}

func (r *Reader) open(ctx context.Context) error {
	stream, err := r.q.js.Stream(ctx, string(r.stream))
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	r.created = info.Created.UnixNano()
	// Acknowledging an event acknowledges all before it, which is what order means.
	_, err = stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       r.name,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckAllPolicy,
		AckWait:       ackWait,
		MaxDeliver:    -1,
		MaxAckPending: -1,
	})
	if err != nil {
		return err
	}
	// What was handed out before and not acknowledged comes again now, in order,
	// and not when the server's patience ends.
	if _, err := r.q.js.ResetConsumer(ctx, string(r.stream), r.name); err != nil {
		return fmt.Errorf("start at the last acknowledgement: %w", err)
	}
	stored, err := r.position(ctx)
	if err != nil {
		return err
	}
	if stored <= info.State.LastSeq {
		r.last = max(r.last, stored)
	}
	r.pull, err = newPuller(r.q.conn, r.stream, r.name)
	return err
}

// Next waits for the next event and gives it with its size as stored. Ack, which
// may be called once, says that it and all before it need not come again; without
// it they do after a restart. The error is ctx's or that of a closed queue:
// trouble of the store is logged and waited out.
func (r *Reader) Next(ctx context.Context) (event schema.Event, size int, ack func(context.Context) error, err error) {
	for {
		msg, seq, err := r.message(ctx)
		if err != nil {
			return schema.Event{}, 0, nil, err
		}
		done := acknowledgement{reader: r, reply: msg.Reply, created: r.created, seq: seq}
		var e schema.Event
		if err := e.UnmarshalJSON(msg.Data); err != nil {
			r.setAside(ctx, msg, err)
			continue
		}
		return e, len(msg.Data), done.send, nil
	}
}

func (r *Reader) message(ctx context.Context) (*nats.Msg, uint64, error) {
	for {
		if err := r.ready(ctx); err != nil {
			return nil, 0, err
		}
		msg, err := r.pull.next(ctx)
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
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
		if seq := meta.Sequence.Stream; seq > r.last {
			r.last = seq
			return msg, seq, nil
		}
	}
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
func (r *Reader) setAside(ctx context.Context, msg *nats.Msg, cause error) {
	r.log.Error("stored event cannot be decoded, set aside", "error", cause, "bytes", len(msg.Data))
	if _, err := r.q.js.Publish(ctx, "deadletters."+r.name, msg.Data); err != nil {
		r.log.Error("setting aside failed", "error", err)
	}
}

// Close stops reading; the position stays.
func (r *Reader) Close() {
	if r.pull != nil {
		r.pull.close()
		r.pull = nil
	}
}

// acknowledgement is one event's. It keeps nothing of the event.
type acknowledgement struct {
	reader  *Reader
	reply   string
	created int64
	seq     uint64
}

// send records the position twice: with the server, whose file is up to 100 ms
// behind what it was told, and as a message of our own, which is on disk when we
// go on. A kill then repeats no more than the batch that was under way.
func (a acknowledgement) send(ctx context.Context) error {
	r := a.reader
	value := strconv.FormatInt(a.created, 10) + " " + strconv.FormatUint(a.seq, 10)
	if _, err := r.q.js.Publish(ctx, positionSubject(r.stream, r.name), []byte(value)); err != nil {
		return fmt.Errorf("store position of %s: %w", r.name, err)
	}
	if err := r.q.conn.Publish(a.reply, []byte("+ACK")); err != nil {
		return fmt.Errorf("acknowledge for %s: %w", r.name, err)
	}
	return nil
}

func positionSubject(s Stream, output string) string {
	return "positions." + string(s) + "." + output
}

// position is the last sequence that was acknowledged; 0 when there is none, or
// only one of another stream of this name.
func (r *Reader) position(ctx context.Context) (uint64, error) {
	stream, err := r.q.js.Stream(ctx, positions)
	if err != nil {
		return 0, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, positionSubject(r.stream, r.name))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read position: %w", err)
	}
	var created int64
	var seq uint64
	if _, err := fmt.Sscanf(string(msg.Data), "%d %d", &created, &seq); err != nil {
		return 0, fmt.Errorf("read position %q: %w", msg.Data, err)
	}
	if created != r.created {
		return 0, nil
	}
	return seq, nil
}
