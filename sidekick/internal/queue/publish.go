package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

// ErrFull is why an event was refused that may be taken later.
var ErrFull = errors.New("queue is full")

// TooLargeError is why an event was refused that will never be taken.
type TooLargeError struct {
	Bytes int // encoded
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("event has %d bytes as stored, at most %d", e.Bytes, MaxMessageBytes)
}

// Permanent says that to try again is of no use.
func (e *TooLargeError) Permanent() bool { return true }

// PublishError says which events were not stored; all the others were.
type PublishError struct {
	Failed map[int]error // by index; each wraps ErrFull, a *TooLargeError or something that may pass
}

func (e *PublishError) Error() string {
	first := slices.Min(e.indexes())
	return fmt.Sprintf("store %d events: event %d: %v", len(e.Failed), first, e.Failed[first])
}

// Unwrap gives the reasons.
func (e *PublishError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, i := range e.indexes() {
		errs = append(errs, e.Failed[i])
	}
	return errs
}

// Refused gives the reason by index of event.
func (e *PublishError) Refused() map[int]error { return e.Failed }

func (e *PublishError) indexes() []int {
	at := make([]int, 0, len(e.Failed))
	for i := range e.Failed {
		at = append(at, i)
	}
	slices.Sort(at)
	return at
}

// Publish stores events, each in its stream and in the given order; when it
// returns nil, a kill of this process loses none of them. With once, an event
// whose ID was stored in the last two minutes is not stored again, which costs
// memory per event: say it only of IDs that a sender can repeat. What could not
// be stored is in a *PublishError; ctx ends the wait, not the storing.
func (q *Queue) Publish(ctx context.Context, events []schema.Event, once bool) error {
	select {
	case q.slots <- struct{}{}:
		defer func() { <-q.slots }()
	case <-ctx.Done():
		return fmt.Errorf("wait to store: %w", ctx.Err())
	}
	failed := map[int]error{}
	for from := 0; from < len(events); from += chunk {
		part := events[from:min(from+chunk, len(events))]
		if err := q.publishChunk(ctx, part, from, once, failed); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return &PublishError{Failed: failed}
	}
	return nil
}

func (q *Queue) publishChunk(ctx context.Context, events []schema.Event, from int, once bool, failed map[int]error) error {
	futures := make([]jetstream.PubAckFuture, len(events))
	for i := range events {
		msg, err := q.message(&events[i], once)
		if err == nil {
			futures[i], err = q.js.PublishMsgAsync(msg)
		}
		if err != nil {
			failed[from+i] = err
		}
	}
	for i, f := range futures {
		if f == nil {
			continue
		}
		select {
		case <-f.Ok():
		case err := <-f.Err():
			failed[from+i] = storeError(err)
		case <-ctx.Done():
			return fmt.Errorf("store events: %w", ctx.Err())
		}
	}
	return nil
}

func (q *Queue) message(e *schema.Event, once bool) (*nats.Msg, error) {
	if q.diskLow.Load() {
		return nil, fmt.Errorf("disk of %s: %w", q.dir, ErrFull)
	}
	body, err := e.MarshalJSON() // json.Marshal would read it once more
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	if len(body) > MaxMessageBytes {
		return nil, &TooLargeError{Bytes: len(body)}
	}
	msg := &nats.Msg{Subject: StreamOf(e).subject(), Data: body}
	if once {
		msg.Header = nats.Header{jetstream.MsgIDHeader: []string{e.ID}}
	}
	return msg, nil
}

// storeError turns the server's refusals into ours.
func storeError(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == errCodeStoreFailed || api.ErrorCode == errCodeInsufficientResources) {
		return fmt.Errorf("%w: %s", ErrFull, api.Description)
	}
	return fmt.Errorf("store event: %w", err)
}

// Codes of the server's errors.json that the client has no names for.
const (
	errCodeStoreFailed           = 10077 // the stream's limits, as DiscardNew reports them
	errCodeInsufficientResources = 10023
)
