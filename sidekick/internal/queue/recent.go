package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A store of our own writes down what consumers were told up to 200 ms later. What was
// acknowledged in the last moments is therefore a message too, the newest one of each
// output, so that a kill of this process does not bring it again. A cluster has
// replicated an acknowledgement when it confirms it.
const (
	recentStream = "RECENT"
	recentFor    = time.Second // at least; twice as long at most
	recentSpans  = 256         // of each such time; beyond them some can come again
	recentBytes  = 8 << 20
)

// recent is what was acknowledged in the last moments.
type recent struct {
	spans, before []span
	since         time.Time
}

// span is a range of sequences, both ends included.
type span struct{ from, to uint64 }

func (r *recent) add(seqs []uint64, now time.Time) {
	if now.Sub(r.since) > recentFor {
		r.before, r.spans, r.since = r.spans, r.before[:0], now
	}
	for _, seq := range seqs {
		if n := len(r.spans); n > 0 && r.spans[n-1].to+1 == seq {
			r.spans[n-1].to = seq
		} else if n < recentSpans {
			r.spans = append(r.spans, span{seq, seq})
		}
	}
}

// encode gives "created from-to from-to …": when the consumer was made, and what it
// was told.
func (r *recent) encode(created time.Time) []byte {
	text := append(strconv.AppendInt(nil, created.UnixNano(), 10), ' ')
	for _, list := range [][]span{r.before, r.spans} {
		for _, s := range list {
			text = strconv.AppendUint(text, s.from, 10)
			text = append(strconv.AppendUint(append(text, '-'), s.to, 10), ' ')
		}
	}
	return text
}

// parseRecent gives the sequences up to the last one of the stream: those beyond it
// were lost, and others will have their numbers. There are none of another consumer.
func parseRecent(text string, created time.Time, last uint64) (map[uint64]bool, error) {
	all := map[uint64]bool{}
	of, text, _ := strings.Cut(text, " ")
	if of != strconv.FormatInt(created.UnixNano(), 10) {
		return nil, nil
	}
	for word := range strings.FieldsSeq(text) {
		first, end, _ := strings.Cut(word, "-")
		from, err1 := strconv.ParseUint(first, 10, 64)
		to, err2 := strconv.ParseUint(end, 10, 64)
		if err := errors.Join(err1, err2); err != nil || from > to {
			return nil, fmt.Errorf("acknowledged %.100q: %q is out of place: %w", text, word, err)
		}
		for seq := from; seq <= min(to, last) && len(all) < 10*maxAckPending; seq++ {
			all[seq] = true
		}
	}
	return all, nil
}

func (c *Consumer) recentSubject() string { return "recent." + string(c.stream) + "." + c.name }

// storeRecent has it stored that these are acknowledged.
func (c *Consumer) storeRecent(ctx context.Context, seqs []uint64) error {
	if c.q.cluster != nil || len(seqs) == 0 {
		return nil
	}
	c.storing.Lock()
	defer c.storing.Unlock()
	c.mu.Lock()
	created := c.created
	c.mu.Unlock()
	c.recent.add(seqs, time.Now())
	if _, err := c.q.js.Publish(ctx, c.recentSubject(), c.recent.encode(created)); err != nil {
		return fmt.Errorf("store what %s has: %w", c.name, err)
	}
	return nil
}

// loadRecent gives what the process before this one stored so.
func (c *Consumer) loadRecent(ctx context.Context, created time.Time, last uint64) (map[uint64]bool, error) {
	stream, err := c.q.js.Stream(ctx, recentStream)
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, c.recentSubject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := parseRecent(string(msg.Data), created, last)
	if err != nil {
		c.log.Error("what was acknowledged last cannot be read, it can come again", "error", err)
		return nil, nil
	}
	// The next message takes the place of this one.
	c.storing.Lock()
	defer c.storing.Unlock()
	c.recent.add(slices.Sorted(maps.Keys(all)), time.Now())
	return all, nil
}
