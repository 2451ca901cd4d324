package queue

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// headerID carries the ID by which a message is recognised that is not, or was
	// not by earlier versions, recognised by that of its event.
	headerID = "Id"

	// recallEvents is how many of the newest events of each stream are looked at to
	// know what became of some of them: more than eight requests of the largest
	// kind, which is what can have been under way.
	recallEvents = 100_000
)

// bodyID gives the ID of a stored event, "" if it has none, without reading the rest.
func bodyID(body []byte) string {
	rest, ok := bytes.CutPrefix(body, []byte(`{"id":"`))
	end := bytes.IndexByte(rest, '"')
	if !ok || end < 0 {
		return ""
	}
	if id := rest[:end]; bytes.IndexByte(id, '\\') < 0 {
		return string(id)
	}
	var e struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	return e.ID
}

// batchID gives the ID of a stored event that came as part of a batch which may be
// sent again, and "" for others.
func batchID(body []byte) string {
	id := bodyID(body)
	if _, _, ok := inBatch(id); !ok {
		return ""
	}
	return id
}

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
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
	})
	if err != nil {
		return err
	}
	name := consumer.CachedInfo().Name
	// Left alone it would count as an output that has nothing yet. The server may have
	// removed it, as it does with one that nobody listens to.
	defer func() {
		if gone := stream.DeleteConsumer(ctx, name); !errors.Is(gone, jetstream.ErrConsumerNotFound) {
			err = errors.Join(err, gone)
		}
	}()
	pull, err := newPuller(q.conn, s, name)
	if err != nil {
		return err
	}
	defer pull.close()
	return recallUpTo(ctx, pull, state.LastSeq, found)
}

// recallUpTo reads up to an event that stays: the newest are never removed at once.
func recallUpTo(ctx context.Context, pull *puller, last uint64, found func(id string)) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	for {
		msg, err := pull.next(ctx)
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if !pull.follows(meta.Sequence.Consumer) {
			return errors.New("events were dropped on their way")
		}
		if id := cmp.Or(msg.Header.Get(headerID), batchID(msg.Data)); id != "" {
			found(id)
		}
		if meta.Sequence.Stream >= last {
			return nil
		}
	}
}

// settled returns when all that was sent to a stream is in it or never will be. What
// was sent is taken in order: that is so once the stream has refused a message that
// it must refuse.
func settled(ctx context.Context, js jetstream.JetStream, s Stream) error {
	msg := &nats.Msg{Subject: s.subject(), Header: nats.Header{}}
	_, err := js.PublishMsg(ctx, msg, jetstream.WithExpectLastMsgID("none is like this"))
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != errCodeWrongLastMsgID {
		return fmt.Errorf("ask %s what it has: %w", s, err)
	}
	return nil
}

// makeSure finds out which events of a batch are stored after the store did not
// answer for some. What was sent to a stream is taken in order: once it has
// refused a message that it must refuse, all before are in it or never will be.
func (q *Queue) makeSure(ctx context.Context, key string, s *batchState) error {
	for _, stream := range []Stream{Alerts, Logs} {
		if err := settled(ctx, q.js, stream); err != nil {
			return err
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
