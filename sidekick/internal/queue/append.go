package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// commitPause is for how long nothing is stored together after a commit that failed in
// part: the stream may be full, and refuse some of the next as well.
const commitPause = time.Second

// appender stores events of one stream, those of several calls of Publish together
// (group commit). Nobody stores between the events of a commit, and the store answers
// for its first and its last alone: when their sequences are as far apart as they are,
// all are stored. An answer for each event takes both sides three times as long. While
// a commit is under way, what others have to store waits and becomes the next one.
type appender struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	stream  Stream
	answers *nats.Subscription
	inbox   string // where answers go, but for the number

	mu      sync.Mutex
	waiting []*part // guarded by mu; in order

	turn   sync.Mutex // held by whoever stores in the stream
	asked  uint64     // guarded by turn; number of the last answer that was asked for
	paused time.Time  // guarded by turn; no commit before
	spare  []byte     // guarded by turn; a buffer
}

// part is what one call of Publish has to store in a stream.
type part struct {
	*publication
	at   []int // indexes of the events
	done bool  // guarded by turn
}

// entry is an event of a part.
type entry struct {
	*publication
	i int
}

func newAppender(conn *nats.Conn, js jetstream.JetStream, s Stream) (*appender, error) {
	inbox := conn.NewInbox()
	answers, err := conn.SubscribeSync(inbox + ".*")
	if err != nil {
		return nil, fmt.Errorf("subscribe to answers of %s: %w", s, err)
	}
	return &appender{conn: conn, js: js, stream: s, answers: answers, inbox: inbox}, nil
}

// store stores the events of these indexes, with what others have waiting by then.
func (a *appender) store(p *publication, at []int) {
	mine := &part{publication: p, at: at}
	a.mu.Lock()
	a.waiting = append(a.waiting, mine)
	a.mu.Unlock()
	a.turn.Lock()
	defer a.turn.Unlock()
	for !mine.done { // else somebody took it along
		parts := a.next()
		if time.Now().Before(a.paused) {
			for _, part := range parts {
				part.send(part.at)
			}
		} else {
			a.commit(parts)
		}
		for _, part := range parts {
			part.done = true
		}
	}
}

// next takes what waits, up to commitMost events, or one part.
func (a *appender) next() (parts []*part) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, part := range a.waiting {
		if n += len(part.at); n > commitMost && len(parts) > 0 {
			break
		}
		parts = append(parts, part)
	}
	a.waiting = slices.Delete(a.waiting, 0, len(parts))
	return parts
}

// commit is what is being stored together.
type commit struct {
	*appender
	sent     []entry
	waiting  []byte   // the last of them, encoded, not sent yet: it may be the last of all
	subjects []string // of the answers that were asked for
}

// commit stores parts together. What is not stored whatever the reason is stored by
// itself, for an answer of its own.
func (a *appender) commit(parts []*part) {
	w := &commit{appender: a}
	var err error
	for _, part := range parts {
		if err = w.sendPart(part); err != nil {
			break
		}
	}
	if err == nil {
		err = w.send(true)
	}
	switch {
	case err != nil:
		w.sent = nil // some of them are, or none
		for _, part := range parts {
			for _, i := range part.at {
				w.sent = append(w.sent, entry{part.publication, i})
			}
		}
	case len(w.sent) > 0:
		err = w.answered()
	}
	if cap(w.spare) > 64<<10 {
		w.spare = nil // not to be kept
	}
	if err == nil {
		for _, o := range w.sent {
			o.stored(&o.events[o.i])
		}
		return
	}
	parts[0].q.log.Debug("events were not stored together", "stream", string(a.stream), "reason", err)
	a.paused = time.Now().Add(commitPause)
	w.sort()
}

// sort tells the events that are stored from those that are not, and stores these.
func (w *commit) sort() {
	ids, err := w.newest(len(w.sent))
	for _, o := range w.sent {
		switch e := &o.events[o.i]; {
		case o.failed[o.i] != nil, o.known(e):
		case err != nil:
			o.failed[o.i] = storeError(err)
			if o.batch != nil {
				o.batch.unsure = true
			}
		case ids[e.ID]:
			o.stored(e)
		default:
			o.publication.send([]int{o.i})
		}
	}
}

// sendPart sends events, each when it is known whether another one follows.
func (w *commit) sendPart(p *part) error {
	for _, i := range p.at {
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
		w.sent = append(w.sent, entry{p.publication, i})
	}
	return nil
}

// send sends the event that waits, if there is one.
func (w *commit) send(ask bool) error {
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
func (w *commit) answered() error {
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
func (w *commit) answer(ctx context.Context, subject string) (uint64, error) {
	for {
		msg, err := w.answers.NextMsgWithContext(ctx)
		switch {
		case err != nil:
			return 0, err
		case msg.Subject != subject:
			continue // one that came too late for its commit
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
func (w *commit) newest(n int) (map[string]bool, error) {
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
