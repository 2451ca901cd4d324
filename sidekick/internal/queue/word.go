package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	keepInterval = time.Second     // how often word is given of a part of what is held
	ackAgain     = 2 * time.Second // until an acknowledgement that was not confirmed is sent again
)

// acking is one call of Ack.
type acking struct {
	left int // not confirmed; guarded by the member's mu
	done chan struct{}
}

// Ack says that events need not come again. They may be any of those that were
// read, in any order. It returns nil when the cluster has confirmed that it knows;
// after an error they are acknowledged as soon as it can be reached, but can come
// again, to this member or another.
func (m *Member) Ack(ctx context.Context, seqs ...uint64) error {
	bounded, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	a := &acking{done: make(chan struct{})}
	m.mu.Lock()
	for _, numbered := range seqs {
		seq, current := m.sequence(numbered)
		h := m.held[seq]
		if h == nil || h.acked != nil || !current {
			continue
		}
		h.acked, h.word = a, time.Now()
		a.left++
		m.sendAck(seq, h)
	}
	left := a.left
	m.mu.Unlock()
	if left == 0 {
		return nil
	}
	select {
	case <-a.done:
		return nil
	case <-bounded.Done():
		return fmt.Errorf("acknowledge for %s: cluster did not confirm: %w", m.name, bounded.Err())
	}
}

// sendAck is called with mu held. What cannot be sent is sent again by keep.
func (m *Member) sendAck(seq uint64, h *holding) {
	_ = m.q.conn.PublishRequest(h.reply, m.to+"."+strconv.FormatUint(m.numbered(seq), 10), []byte("+ACK"))
}

// confirmed takes the cluster's word that it knows of an acknowledgement.
func (m *Member) confirmed(msg *nats.Msg) {
	if msg.Header.Get("Status") != "" {
		return // nobody was there to hear of it
	}
	numbered, err := strconv.ParseUint(msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], 10, 64)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seq, current := m.sequence(numbered)
	h := m.held[seq]
	if h == nil || h.acked == nil || !current {
		return
	}
	delete(m.held, seq)
	if h.acked.left--; h.acked.left == 0 {
		close(h.acked.done)
	}
}

// keep gives word of what is held, and repeats acknowledgements that were not
// confirmed, until ctx ends.
func (m *Member) keep(ctx context.Context) {
	tick := time.NewTicker(min(keepInterval, m.q.cluster.patience()/6))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			m.giveWord(now)
		}
	}
}

func (m *Member) giveWord(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for seq, h := range m.held {
		switch age := now.Sub(h.word); {
		case h.acked != nil && age >= ackAgain:
			m.sendAck(seq, h)
		case h.acked == nil && age >= m.q.cluster.patience()/3:
			if m.q.conn.Publish(h.reply, []byte("+WPI")) != nil {
				continue
			}
		default:
			continue
		}
		h.word = now
	}
}
