package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

const (
	// headerOnly names the one output that a message is for.
	headerOnly = "Only"

	// headerReason says why a message was set aside that cannot be decoded.
	headerReason = "Reason"
)

var (
	// ErrNoLetter is returned for a dead letter that is not held, or no longer.
	ErrNoLetter = errors.New("there is no such dead letter")

	// ErrNotConfigured is returned for a dead letter of an output that would never
	// take it.
	ErrNotConfigured = errors.New("output is not configured, or does not get such events")

	errUndecodable = errors.New("cannot be decoded and so not be delivered")
)

// Letter is a dead letter as it is held: an event, or what the queue held in the
// place of one and could not decode.
type Letter struct {
	Number uint64          `json:"number"` // in the order of refusal; never given twice
	Output string          `json:"output"`
	Reason string          `json:"reason"`
	Time   time.Time       `json:"time"` // of the refusal, UTC
	ID     string          `json:"id,omitempty"`
	Event  json.RawMessage `json:"event,omitempty"`
	Raw    []byte          `json:"raw,omitempty"` // instead of Event
}

// Letters gives the newest dead letters, newest first; those of one output if
// output is not "", and all if limit is 0. held is how many there are.
func (q *Queue) Letters(ctx context.Context, output string, limit int, found func(Letter) error) (held int, err error) {
	held, numbers, err := q.letterState(ctx, output)
	if err != nil {
		return 0, err
	}
	left := held
	if limit > 0 {
		left = min(held, limit)
	}
	for _, n := range numbers {
		if left == 0 {
			break
		}
		l, err := q.letter(ctx, n)
		if errors.Is(err, ErrNoLetter) {
			continue // it gave way meanwhile
		}
		if err != nil {
			return held, err
		}
		if output != "" && l.Output != output {
			continue
		}
		left--
		if err := found(l); err != nil {
			return held, err
		}
	}
	return held, nil
}

// LetterNumbers gives the numbers of the dead letters that are held now, oldest
// first; those of one output if output is not "".
func (q *Queue) LetterNumbers(ctx context.Context, output string) ([]uint64, error) {
	if output == "" {
		_, numbers, err := q.letterState(ctx, "")
		slices.Reverse(numbers)
		return numbers, err
	}
	var numbers []uint64
	_, err := q.Letters(ctx, output, 0, func(l Letter) error {
		numbers = append(numbers, l.Number)
		return nil
	})
	slices.Reverse(numbers)
	return numbers, err
}

// Letter finds a dead letter by its number or by the ID of its event; of several
// with the ID the newest. It fails with ErrNoLetter.
func (q *Queue) Letter(ctx context.Context, ref string) (Letter, error) {
	if n, err := strconv.ParseUint(ref, 10, 64); err == nil && n > 0 {
		return q.letter(ctx, n)
	}
	var match *Letter
	enough := errors.New("found")
	_, err := q.Letters(ctx, "", 0, func(l Letter) error {
		if l.ID != ref {
			return nil
		}
		match = &l
		return enough
	})
	if match != nil {
		return *match, nil
	}
	if err == nil {
		err = ErrNoLetter
	}
	return Letter{}, err
}

// letterState gives how many dead letters there are of an output, or of all, and
// the numbers of all, newest first.
func (q *Queue) letterState(ctx context.Context, output string) (held int, numbers []uint64, err error) {
	stream, err := q.js.Stream(ctx, deadLetters)
	if err != nil {
		return 0, nil, fmt.Errorf("look for dead letters: %w", err)
	}
	subject := q.stored(letterSubject(output))
	if output == "" {
		subject = q.stored(letterSubject("*"))
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true), jetstream.WithSubjectFilter(subject))
	if err != nil {
		return 0, nil, fmt.Errorf("look for dead letters: %w", err)
	}
	for _, n := range info.State.Subjects {
		held += int(n)
	}
	gone := make(map[uint64]bool, len(info.State.Deleted))
	for _, n := range info.State.Deleted {
		gone[n] = true
	}
	for n := info.State.LastSeq; n >= max(info.State.FirstSeq, 1) && info.State.Msgs > 0; n-- {
		if !gone[n] {
			numbers = append(numbers, n)
		}
	}
	return held, numbers, nil
}

func (q *Queue) letter(ctx context.Context, number uint64) (Letter, error) {
	stream, err := q.js.Stream(ctx, deadLetters)
	if err != nil {
		return Letter{}, fmt.Errorf("read dead letter %d: %w", number, err)
	}
	msg, err := stream.GetMsg(ctx, number)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Letter{}, fmt.Errorf("dead letter %d: %w", number, ErrNoLetter)
	}
	if err != nil {
		return Letter{}, fmt.Errorf("read dead letter %d: %w", number, err)
	}
	return decodeLetter(msg, strings.TrimPrefix(msg.Subject, q.stored(letterSubject("")))), nil
}

// decodeLetter takes anything: what is no dead letter is one that says so.
func decodeLetter(msg *jetstream.RawStreamMsg, output string) Letter {
	l := Letter{Number: msg.Sequence, Output: output}
	var d DeadLetter
	if err := json.Unmarshal(msg.Data, &d); err == nil && d.Event.Kind != "" {
		if event, err := d.Event.MarshalJSON(); err == nil {
			l.Reason, l.Time, l.ID, l.Event = d.Reason, d.Time, d.Event.ID, event
			return l
		}
	}
	l.Time, l.Raw = msg.Time.UTC(), msg.Data
	l.Reason = "stored event cannot be decoded"
	if reason := msg.Header.Get(headerReason); reason != "" {
		l.Reason += ": " + reason
	}
	return l
}

// Replay puts the event of a dead letter back into the stream that it came from,
// for its output alone, and then removes the dead letter. The event has a new ID,
// which is returned, and is as old as the replay. configured says whether an output gets events of a stream.
// The error wraps ErrNoLetter, ErrNotConfigured, ErrFull or what may pass; the
// dead letter is then still there, unless the error says otherwise.
func (q *Queue) Replay(ctx context.Context, number uint64, configured func(output string, s Stream) bool) (id string, err error) {
	l, err := q.letter(ctx, number)
	if err != nil {
		return "", err
	}
	if l.Event == nil {
		return "", fmt.Errorf("dead letter %d: %w", number, errUndecodable)
	}
	var event schema.Event
	if err := event.UnmarshalJSON(l.Event); err != nil {
		return "", fmt.Errorf("dead letter %d: %w", number, err)
	}
	if !configured(l.Output, StreamOf(&event)) {
		return "", fmt.Errorf("dead letter %d: %s: %w", number, l.Output, ErrNotConfigured)
	}
	event.ID = replayID(event.ID, number)
	event.Received = time.Now().UTC() // or it would be too old again at once
	if err := q.storeFor(ctx, l.Output, &event); err != nil {
		return "", fmt.Errorf("replay dead letter %d: %w", number, err)
	}
	if err := q.DeleteLetter(ctx, number); err != nil {
		return "", fmt.Errorf("dead letter %d will be delivered again as %s, but is still there: %w", number, event.ID, err)
	}
	return event.ID, nil
}

// storeFor stores an event for one output alone, and once, however often a replay is
// tried because its dead letter could not be removed.
func (q *Queue) storeFor(ctx context.Context, output string, event *schema.Event) error {
	packed := event.Pack()
	msg, err := q.message(&packed)
	if err != nil {
		return err
	}
	id := output + "/" + event.ID
	msg.Header = nats.Header{headerOnly: []string{output}}
	if q.cluster != nil {
		if _, err := q.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id)); err != nil {
			return storeError(err)
		}
		return nil
	}
	stream := q.alerts
	if msg.Subject == Logs.subject() {
		stream = q.logs
	}
	stream.turn.Lock()
	defer stream.turn.Unlock()
	if err := q.remember(ctx); err != nil {
		return err
	}
	state, err := q.batches.begin(ctx, id)
	if err != nil {
		return err
	}
	defer q.batches.end(state)
	if state.has(0) {
		return nil
	}
	msg.Header.Set(headerID, id)
	if _, err := q.js.PublishMsg(ctx, msg); err != nil {
		return storeError(err)
	}
	q.batches.add(state, 0)
	return nil
}

// replayID is unlike the IDs of all other events, so that the event can become a
// dead letter again at once.
func replayID(id string, number uint64) string {
	if before, digits, ok := cutLast(id, "-r"); ok {
		if _, err := strconv.ParseUint(digits, 10, 64); err == nil {
			id = before // of the last replay
		}
	}
	return id + "-r" + strconv.FormatUint(number, 10)
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// DeleteLetter removes a dead letter. It fails with ErrNoLetter.
func (q *Queue) DeleteLetter(ctx context.Context, number uint64) error {
	stream, err := q.js.Stream(ctx, deadLetters)
	if err != nil {
		return fmt.Errorf("remove dead letter %d: %w", number, err)
	}
	if err := stream.DeleteMsg(ctx, number); errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("remove dead letter %d: %w", number, ErrNoLetter)
	} else if err != nil {
		return fmt.Errorf("remove dead letter %d: %w", number, err)
	}
	q.letters.removed.Add(1)
	return nil
}

func letterSubject(output string) string { return "deadletters." + output }
