package queue

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What is remembered of batches is bounded by their number and by the bytes of
// their bitmaps, 10 MB together at most: the oldest are forgotten.
const (
	maxBatches     = 1 << 15
	maxBitmapWords = 1 << 18 // of 8 bytes
)

// maxIndex bounds the index of an event within its batch.
const maxIndex = 10_000

// batches remembers which events of which batch were stored, so that a batch that
// is sent again is not stored again. To remember each event by its ID would cost
// hundreds of bytes an event.
type batches struct {
	mu    sync.Mutex
	known map[batchKey]*batchState // guarded by mu
	order []batchKey               // guarded by mu; oldest first
	words int                      // guarded by mu; of all bitmaps
}

// batchKey is the beginning of the SHA-256 of a key: a sender cannot make two
// that are alike, and it takes little room.
type batchKey [16]byte

// batchState is what is known of one batch. Whoever stores events of it holds busy.
type batchState struct {
	busy   chan struct{} // holds one token while the batch is being stored
	stored []uint64      // bitmap by index
	// unsure is set while it is not known what became of an event, because the
	// store did not answer.
	unsure bool
}

func newBatches() *batches { return &batches{known: map[batchKey]*batchState{}} }

// batchOf takes an ID "<key>-<index>" apart. Any other ID is a batch of its own.
func batchOf(id string) (key string, index int) {
	if key, index, ok := inBatch(id); ok {
		return key, index
	}
	return id, 0
}

// inBatch takes an ID "<key>-<index>" apart, if it is one.
func inBatch(id string) (key string, index int, ok bool) {
	dash := strings.LastIndexByte(id, '-')
	digits := id[dash+1:]
	if dash < 0 || len(digits) == 0 || digits[0] == '0' && len(digits) > 1 {
		return "", 0, false
	}
	for _, c := range []byte(digits) {
		index = 10*index + int(c-'0')
		if c < '0' || c > '9' || index >= maxIndex {
			return "", 0, false
		}
	}
	return id[:dash], index, true
}

func hashKey(key string) batchKey {
	sum := sha256.Sum256([]byte(key))
	return batchKey(sum[:len(batchKey{})])
}

// begin gives the state of a batch to this caller alone, until end.
func (b *batches) begin(ctx context.Context, key string) (*batchState, error) {
	s := b.state(hashKey(key))
	select {
	case s.busy <- struct{}{}:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *batches) end(s *batchState) { <-s.busy }

func (b *batches) state(key batchKey) *batchState {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.known[key]; s != nil {
		return s
	}
	s := &batchState{busy: make(chan struct{}, 1)}
	b.known[key] = s
	b.order = append(b.order, key)
	for len(b.order) > maxBatches || b.words > maxBitmapWords && len(b.order) > 1 {
		oldest := b.order[0]
		b.order = b.order[1:]
		b.words -= len(b.known[oldest].stored)
		delete(b.known, oldest)
	}
	return s
}

// add notes that an event of the batch is stored. The caller holds s.
func (b *batches) add(s *batchState, index int) {
	word := index / bits.UintSize
	if grow := word + 1 - len(s.stored); grow > 0 {
		s.stored = append(s.stored, make([]uint64, grow)...)
		b.mu.Lock()
		b.words += grow
		b.mu.Unlock()
	}
	s.stored[word] |= 1 << (index % bits.UintSize)
}

func (s *batchState) has(index int) bool {
	word := index / bits.UintSize
	return word < len(s.stored) && s.stored[word]&(1<<(index%bits.UintSize)) != 0
}

// remember takes in the ID of an event that the store holds from before.
func (b *batches) remember(id string) {
	key, index := batchOf(id)
	b.add(b.state(hashKey(key)), index)
}

const (
	// headerID carries the ID by which a message is recognised that is not, or was
	// not by earlier versions, recognised by that of its event.
	headerID = "Id"

	// newestEvents is how many of the newest events of each stream are looked at to
	// know what became of some of them: more than eight requests of the largest
	// kind, which is what can have been under way.
	newestEvents = 100_000
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

// newest gives the IDs of the newest events of both streams that were stored as
// part of a batch.
func (q *Queue) newest(ctx context.Context, found func(id string)) error {
	for _, s := range []Stream{Alerts, Logs} {
		if err := q.newestOf(ctx, s, found); err != nil {
			return fmt.Errorf("look for stored batches in %s: %w", s, err)
		}
	}
	return nil
}

func (q *Queue) newestOf(ctx context.Context, s Stream, found func(id string)) error {
	c, err := q.cursor(ctx, s, func(state jetstream.StreamState) jetstream.ConsumerConfig {
		start := max(state.FirstSeq, 1)
		if state.LastSeq-start >= newestEvents {
			start = state.LastSeq - newestEvents + 1
		}
		return jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start}
	})
	if err != nil {
		return err
	}
	defer c.close()
	for {
		if err := c.advance(ctx); err != nil || c.msg == nil {
			return err
		}
		if id := cmp.Or(c.msg.Header.Get(headerID), batchID(c.msg.Data)); id != "" {
			found(id)
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
	err := q.newest(ctx, func(id string) {
		if of, index := batchOf(id); of == key {
			q.batches.add(s, index)
		}
	})
	if err == nil {
		s.unsure = false
	}
	return err
}
