package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// What a reader holds ahead of its user, so that 100,000 waiting events are on
	// disk and not in memory: so many, but no more than fit into pullBytes. The
	// largest message must.
	pullEvents = 256
	pullBytes  = MaxMessageBytes + 256<<10

	pullWait  = 30 * time.Second // how long the server keeps a request that it cannot answer
	heartbeat = 2 * time.Second  // how often it says that it still does
	deadAfter = 5 * time.Second  // without a word
)

// puller fetches the messages of one consumer, one request at a time. The client
// library's own iterator cannot be bounded by messages and bytes at once without
// either a place for a million messages or no bound on bytes.
type puller struct {
	conn    *nats.Conn
	subject string
	inbox   string
	sub     *nats.Subscription
	events  int       // to ask for at once
	left    int       // messages that the request under way may still bring; 0 for no request
	heard   time.Time // when the server last said something, or was asked
	number  uint64    // of the consumer's last message, as it counts them

	before func(context.Context) error // waits until more is wanted; nil for always
}

func newPuller(conn *nats.Conn, stream Stream, consumer string) (*puller, error) {
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return &puller{
		conn: conn, sub: sub, inbox: inbox, events: pullEvents,
		subject: fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer),
	}, nil
}

// next waits for a message. When ctx ends nothing is lost. Any other error means
// that the puller is of no more use.
func (p *puller) next(ctx context.Context) (*nats.Msg, error) {
	p.heard = time.Now() // the silence since the last call was the caller's
	for {
		if p.left == 0 && p.before != nil {
			if err := p.before(ctx); err != nil {
				return nil, err
			}
		}
		if p.left == 0 {
			if err := p.request(); err != nil {
				return nil, err
			}
		}
		msg, err := p.wait(ctx)
		if err != nil {
			return nil, err
		}
		p.heard = time.Now()
		if status := msg.Header.Get("Status"); len(msg.Data) > 0 || status == "" {
			p.left--
			return msg, nil
		} else if err := p.ended(status, msg.Header); err != nil {
			return nil, err
		}
	}
}

// follows says whether a message is the next one of its consumer, which nobody else
// uses. The client library drops what it has no room for, and takes back that
// it did as soon as there is room again.
func (p *puller) follows(number uint64) bool {
	p.number++
	return number == p.number
}

func (p *puller) wait(ctx context.Context) (*nats.Msg, error) {
	bounded, cancel := context.WithDeadline(ctx, p.heard.Add(deadAfter))
	defer cancel()
	msg, err := p.sub.NextMsgWithContext(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return nil, errors.New("store does not answer")
	}
	return msg, err
}

func (p *puller) request() error {
	body, err := json.Marshal(map[string]any{
		"batch": p.events, "max_bytes": pullBytes, "expires": pullWait, "idle_heartbeat": heartbeat,
	})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	if err := p.conn.PublishRequest(p.subject, p.inbox, body); err != nil {
		return fmt.Errorf("ask for events: %w", err)
	}
	p.left, p.heard = p.events, time.Now()
	return nil
}

// ended takes a status, with which the server ends a request that has not brought
// all that it asked for.
func (p *puller) ended(status string, header nats.Header) error {
	description := header.Get("Description")
	switch {
	case status == "100": // a sign of life
		return nil
	case status == "404", status == "408", // no message came in time
		status == "409" && (description == "Message Size Exceeds MaxBytes" || description == "Batch Completed"):
		// A cluster says so while messages of the request are still on their way.
		never, err := strconv.Atoi(header.Get("Nats-Pending-Messages"))
		if err != nil {
			never = p.left
		}
		p.left = max(p.left-never, 0)
		return nil
	}
	return fmt.Errorf("store ended the reading: %s %s", status, description)
}

// rest gives what has come and was not read.
func (p *puller) rest() []*nats.Msg {
	var msgs []*nats.Msg
	for {
		msg, err := p.sub.NextMsg(time.Millisecond)
		if err != nil {
			return msgs
		}
		if msg.Reply != "" {
			msgs = append(msgs, msg)
		}
	}
}

func (p *puller) close() {
	_ = p.sub.Unsubscribe() // fails on a closed connection only
}
