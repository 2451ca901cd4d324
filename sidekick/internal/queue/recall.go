package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// headerID carries the ID of an event whose batch may be sent again, so that
	// it can be found without reading bodies.
	headerID = "Id"

	// recallEvents is how many of the newest events of each stream are looked at to
	// know what became of some of them: more than eight requests of the largest
	// kind, which is what can have been under way.
	recallEvents = 100_000
)

// recall gives the IDs of the newest events of both streams that were stored as
// part of a batch.
func (q *Queue) recall(ctx context.Context, found func(id string)) error {
	for _, s := range []Stream{Alerts, Logs} {
		if err := q.recallStream(ctx, s, found); err != nil {
			return fmt.Errorf("look for stored batches in %s: %w", s, err)
		}
	}
	return nil
}

func (q *Queue) recallStream(ctx context.Context, s Stream, found func(id string)) (err error) {
	stream, err := q.js.Stream(ctx, string(s))
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	start := state.FirstSeq
	if state.LastSeq-start >= recallEvents {
		start = state.LastSeq - recallEvents + 1
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		HeadersOnly: true, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
	})
	if err != nil {
		return err
	}
	// Left alone it would count as an output that has nothing yet.
	defer func() { err = errors.Join(err, stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)) }()
	for {
		n, err := recallSome(consumer, found)
		if err != nil || n == 0 {
			return err
		}
	}
}

// recallSome looks at what is there without waiting for more: events may be
// removed meanwhile.
func recallSome(consumer jetstream.Consumer, found func(id string)) (n int, err error) {
	some, err := consumer.FetchNoWait(4 * pullEvents)
	if err != nil {
		return 0, err
	}
	for msg := range some.Messages() {
		n++
		if id := msg.Headers().Get(headerID); id != "" {
			found(id)
		}
	}
	return n, some.Error()
}

// makeSure finds out which events of a batch are stored after the store did not
// answer for some. What was sent to a stream is taken in order: once it has
// refused a message that it must refuse, all before are in it or never will be.
func (q *Queue) makeSure(ctx context.Context, key string, s *batchState) error {
	for _, stream := range []Stream{Alerts, Logs} {
		msg := &nats.Msg{Subject: stream.subject(), Header: nats.Header{}}
		_, err := q.js.PublishMsg(ctx, msg, jetstream.WithExpectLastMsgID("none is like this"))
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.ErrorCode != errCodeWrongLastMsgID {
			return fmt.Errorf("ask %s what it has: %w", stream, err)
		}
	}
	err := q.recall(ctx, func(id string) {
		if of, index := batchOf(id); of == key {
			q.batches.add(s, index)
		}
	})
	if err == nil {
		s.unsure = false
	}
	return err
}
