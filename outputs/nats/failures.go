package nats

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
)

// note sorts what publishing to a stream gave.
func note(f *outputs.Failures, i int, err error) {
	if permanent(err) {
		f.Refuse(i, err)
		return
	}
	f.Retry(i, err)
}

// tooLarge is the API's code for a message above the stream's own limit
// (nats-server, server/errors.json).
const tooLarge = 10054

// permanent says whether the message itself is refused. A stream that is
// missing or full is somebody's task, and the events wait for it.
func permanent(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == tooLarge {
		return true
	}
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject)
}

// result makes one error of the failures of a batch of so many events.
func (o *output) result(f *outputs.Failures, all int) error {
	return f.Err(func(err error) error {
		return fmt.Errorf("publish %d of %d events to NATS: %w", len(f.Failed), all, o.settings.clean(err))
	})
}

// failed is a failure of the whole batch.
func (o *output) failed(doing string, err error) error {
	_ = o.Close()
	return &outputs.Error{Class: outputs.Transient, Err: fmt.Errorf("%s: %w", doing, o.settings.clean(err))}
}

// clean gives an error with the text of err without what the address holds
// before its @. Only context errors can be found in its chain.
func (s *settings) clean(err error) error {
	text := err.Error()
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
		text = "no stream takes the subject, or JetStream is off"
	}
	for server := range strings.SplitSeq(s.servers.Reveal(), ",") {
		u, parseErr := url.Parse(strings.TrimSpace(server))
		if parseErr != nil || u.User == nil {
			continue
		}
		password, _ := u.User.Password()
		for _, part := range []string{u.User.String(), password, u.User.Username()} {
			if part != "" {
				text = strings.ReplaceAll(text, part, "***")
			}
		}
	}
	cleaned := errors.New(clip.Line(text, 300, nil))
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", cleaned, cause)
		}
	}
	return cleaned
}
