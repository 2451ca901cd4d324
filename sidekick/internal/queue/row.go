package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// rowLeast is the shortest row. Fewer events are cheaper each by itself: they
	// need not wait until nobody else stores.
	rowLeast = 8

	// rowPause is for how long no rows are stored after one that was not stored
	// whole: the stream may be full, and refuse some of the next as well.
	rowPause = time.Second
)

// rows stores events of one stream in rows. A row is stored without anybody between
// its events, and the store answers for its first and its last alone: when their
// numbers are as far apart as they are, all are stored. An answer for each event
// takes both sides more time than to store it.
type rows struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	stream  Stream
	answers *nats.Subscription
	inbox   string // where answers go, but for the number

	turn   sync.RWMutex // held by a row; for reading by whoever else stores in the stream
	asked  uint64       // guarded by turn; number of the last answer that was asked for
	paused time.Time    // guarded by turn; no row before
	spare  []byte       // guarded by turn; a buffer
}

func newRows(conn *nats.Conn, js jetstream.JetStream, s Stream) (*rows, error) {
	inbox := conn.NewInbox()
	answers, err := conn.SubscribeSync(inbox + ".*")
	if err != nil {
		return nil, fmt.Errorf("subscribe to answers of %s: %w", s, err)
	}
	return &rows{conn: conn, js: js, stream: s, answers: answers, inbox: inbox}, nil
}

// row is the events of one call of Publish that are stored in a row.
type row struct {
	*rows
	sent     []int    // indexes of the events
	waiting  []byte   // the last of them, encoded, not sent yet: it may be the last of all
	subjects []string // of the answers that were asked for
}

// row stores the events of these indexes. Those that are not stored whatever the
// reason come by themselves, for an answer of their own.
func (p *publication) row(r *rows, at []int) {
	r.turn.Lock()
	defer r.turn.Unlock()
	if time.Now().Before(r.paused) {
		p.send(at)
		return
	}
	w := &row{rows: r, sent: make([]int, 0, len(at))}
	err := w.sendAll(p, at)
	switch {
	case err != nil:
		w.sent = at // some of them, or none
	case len(w.sent) > 0:
		err = w.answered()
	}
	if err == nil {
		for _, i := range w.sent {
			p.stored(&p.events[i])
		}
		return
	}
	p.q.log.Debug("events were not stored in a row", "stream", string(r.stream), "reason", err)
	r.paused = time.Now().Add(rowPause)
	p.sort(w)
}

// sort tells those of a row that are stored from those that are not, and stores
// these.
func (p *publication) sort(w *row) {
	ids, err := w.newest(len(w.sent))
	if err != nil && p.batch != nil {
		p.batch.unsure = true
	}
	var left []int
	for _, i := range w.sent {
		switch e := &p.events[i]; {
		case p.failed[i] != nil, p.known(e):
		case err != nil:
			p.failed[i] = storeError(err)
		case ids[e.ID]:
			p.stored(e)
		default:
			left = append(left, i)
		}
	}
	p.send(left)
}

// sendAll sends events, each when it is known whether another one follows.
func (w *row) sendAll(p *publication, at []int) error {
	for _, i := range at {
		if p.known(&p.events[i]) {
			continue
		}
		body, err := p.q.encode(w.spare[:0], &p.events[i])
		if err != nil {
			p.failed[i] = err
			continue
		}
		if err := w.send(len(w.sent) == 1); err != nil {
			return err
		}
		w.spare, w.waiting = w.waiting, body
		w.sent = append(w.sent, i)
	}
	if cap(w.spare) > 64<<10 {
		w.spare = nil // not to be kept
	}
	return w.send(true)
}

// send sends the event that waits, if there is one.
func (w *row) send(ask bool) error {
	subject := w.stream.subject()
	switch {
	case len(w.waiting) == 0:
		return nil
	case !ask:
		return w.conn.Publish(subject, w.waiting)
	}
	w.asked++
	to := w.inbox + "." + strconv.FormatUint(w.asked, 10)
	w.subjects = append(w.subjects, to)
	return w.conn.PublishRequest(subject, to, w.waiting)
}

// answered waits for the answers and says why not all is stored.
func (w *row) answered() error {
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	var first, last uint64
	for n, subject := range w.subjects {
		seq, err := w.answer(ctx, subject)
		if err != nil {
			return err
		}
		if last = seq; n == 0 {
			first = seq
		}
	}
	if want := first + uint64(len(w.sent)) - 1; last != want {
		return fmt.Errorf("the last has number %d, not %d", last, want)
	}
	return nil
}

// answer gives the number of the event that an answer is about.
func (w *row) answer(ctx context.Context, subject string) (uint64, error) {
	for {
		msg, err := w.answers.NextMsgWithContext(ctx)
		switch {
		case err != nil:
			return 0, err
		case msg.Subject != subject:
			continue // one that came too late for its row
		case len(msg.Data) == 0:
			return 0, errors.New("there is no store")
		}
		var said struct {
			Seq   uint64              `json:"seq"`
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(msg.Data, &said); err != nil {
			return 0, fmt.Errorf("answer of the store: %w", err)
		}
		if said.Error != nil {
			return 0, said.Error
		}
		return said.Seq, nil
	}
}

// newest gives the IDs of the newest events of the stream, n of them. All that was
// sent has been taken or refused by then.
func (w *row) newest(n int) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	if err := settled(ctx, w.js, w.stream); err != nil {
		return nil, err
	}
	stream, err := w.js.Stream(ctx, string(w.stream))
	if err != nil {
		return nil, err
	}
	ids := make(map[string]bool, n)
	state := stream.CachedInfo().State
	for seq := state.LastSeq; seq >= max(state.FirstSeq, 1) && state.LastSeq-seq < uint64(n); seq-- {
		msg, err := stream.GetMsg(ctx, seq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return nil, err
		default:
			ids[bodyID(msg.Data)] = true
		}
	}
	return ids, nil
}
