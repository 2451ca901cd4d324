// Package aws is the source of policies that stand in parameters of AWS Systems Manager
// or in objects of Amazon S3, for fleets of tasks whose policies change without a
// deployment. It asks for them again and again; it writes nothing.
package aws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// Bounds of the interval between two looks.
const (
	MinInterval     = time.Second
	DefaultInterval = 30 * time.Second
	MaxInterval     = time.Hour
)

const (
	lookTimeout = 30 * time.Second
	firstRetry  = time.Second
	lastRetry   = 30 * time.Second // or the interval, if that is longer
)

// maxTexts bounds the parameters below a path, or the objects with a prefix.
const maxTexts = 1000

// errAbsent is that there is no such parameter or object.
var errAbsent = errors.New("it does not exist")

// place is where policies are.
type place interface {
	// String names the place for people.
	String() string
	// look gives all that is there; errAbsent where there is nothing of the name.
	look(ctx context.Context) ([]policies.Text, error)
}

// Source implements policies.Source.
type Source struct {
	place    place
	interval time.Duration
	log      *slog.Logger
}

// Name implements policies.Source.
func (s *Source) Name() string { return s.place.String() }

// Run implements policies.Source. What has been there and is no longer has no
// policies. What has never been there is waited for: its name may be wrong.
func (s *Source) Run(ctx context.Context, report policies.Report) {
	failures, said, was := 0, "", false
	for ctx.Err() == nil {
		texts, err := s.look(ctx)
		if errors.Is(err, errAbsent) && was {
			texts, err = nil, nil
			s.note(&said, "there are no policies any more: what they were in is gone", nil)
		}
		wait := s.interval
		if err == nil {
			if failures > 0 {
				s.log.Info("policies are followed again", "from", s.Name())
				said = ""
			}
			failures, was = 0, was || len(texts) > 0
			report(policies.State{Texts: texts})
		} else if ctx.Err() == nil {
			if !errors.Is(err, errAbsent) {
				wait = min(firstRetry<<min(failures, 10), max(s.interval, lastRetry))
			}
			failures++
			s.note(&said, "policies cannot be read: what they said before stays in force", err)
		}
		// Tasks that start together do not ask together for ever.
		wait = wait*9/10 + rand.N(wait/5)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (s *Source) look(ctx context.Context) ([]policies.Text, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return s.place.look(ctx)
}

// note tells the log what is not said yet.
func (s *Source) note(said *string, what string, err error) {
	text := what
	if err != nil {
		text += err.Error()
	}
	if *said == text {
		return
	}
	*said = text
	s.log.Warn("policies of AWS", "from", s.Name(), "what", what, "error", err)
}

// failure leaves out of an error of the SDK what holds secrets.
func failure(service string, err error) error {
	return awsconfig.Failure(service, err, nil).Err
}

// tooMany is that a place has more than is read of it.
func tooMany(what string) error {
	return fmt.Errorf("there are more than %d %s: nothing of it is taken", maxTexts, what)
}
