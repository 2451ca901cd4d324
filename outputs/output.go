// Package outputs is the contract between the sidekick and the services that it
// delivers to: what an output does, how it is configured, how it fails.
package outputs

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// Output delivers events to one service. One that keeps connections which have
// goroutines is an io.Closer too; it is closed after the last Deliver.
type Output interface {
	// Deliver hands over a batch, oldest event first, and returns nil only when
	// the service has taken all of it. It is called by one goroutine at a time:
	// for each further request in flight there is an Output of its own. It
	// returns soon after ctx ends, and must not change or keep the events. Its
	// error, if it is an *Error, says whether and when to try again; any other
	// error counts as transient. No error text may contain a secret.
	Deliver(ctx context.Context, batch []schema.Event) error
}

// Previewer is an Output that can show as text what it would send for an event. It
// makes no request, and the text holds no secret. An error is one of the user's
// template, which Deliver shows in the message instead.
type Previewer interface {
	Preview(e *schema.Event) (string, error)
}

// Digester is an Output that can tell of many alike events in one message.
type Digester interface {
	// DeliverDigest hands over a digest, under the same terms as Deliver. Its error
	// concerns the digest as a whole.
	DeliverDigest(ctx context.Context, d *Digest) error
}

// Digest is a number of events of the same policy or rule, operation, process, place
// and outcome. Where too many kinds wait, several are Mixed: of the same policy or
// rule and outcome, or of the same outcome.
type Digest struct {
	Count       int       // of the events, at least 2
	First, Last time.Time // when they happened, UTC
	Resource    string    // what they are about: "/etc/shadow" if all are, else what the names have in common, "/etc/*"; "" for nothing
	Mixed       bool
	Examples    []schema.Event // 1 to 3 that differ, the first event first
}

// Batcher is an Output whose limits depend on its settings.
type Batcher interface {
	Limits() Limits // instead of those of its kind
}

// Pacer is an Output whose service says with its answers when it would refuse the
// next message.
type Pacer interface {
	// Pause is how long the last answer asked to wait although it was no refusal; 0
	// for not at all. It is asked after each Deliver and DeliverDigest.
	Pause() time.Duration
}

// Metered is an Output whose service counts the messages of several outputs
// together, as that of one webhook does.
type Metered interface {
	// Account is a hash that is the same for outputs that share Limits.Rates.
	Account() [sha256.Size]byte
}

// Class says what became of a delivery that failed.
type Class int

// The classes of failure.
const (
	Transient   Class = iota // try again after a backoff: network trouble, 5xx
	RateLimited              // try again after RetryAfter: 429
	Permanent                // the service will never take these events: most 4xx
)

// Error is a failed delivery.
type Error struct {
	Class      Class
	RetryAfter time.Duration // how long the service asked to wait, with RateLimited and some Transient errors; 0 is unknown
	Failed     []int         // indexes into the batch of the events that failed; empty means all of them
	Err        error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func (c Class) String() string {
	switch c {
	case Transient:
		return "transient"
	case RateLimited:
		return "rate-limited"
	case Permanent:
		return "permanent"
	}
	return fmt.Sprintf("class %d", int(c))
}

// Limits are what a service takes in one Deliver call.
type Limits struct {
	BatchEvents int           // at most so many events, at least 1
	BatchBytes  int           // at most so many bytes of event JSON, 0 for no limit; one larger event still comes, alone
	BatchDelay  time.Duration // how long an incomplete batch may wait for more
	Timeout     time.Duration // bound on one Deliver
	Rates       []Rate        // how often Deliver may be called, all of which are kept; none for no limit
}

// Rate is so many calls in any period of that length.
type Rate struct {
	Messages int
	Per      time.Duration
}

// Kind is one kind of output: its name, its settings and how it is made.
type Kind struct {
	Name     string // metric label and log name as FalcoSidekick has it: slack, awscloudwatchlogs
	Block    string // where its settings are: "slack" is slack: in YAML and SLACK_ in the environment, "aws.cloudwatchlogs" AWS_CLOUDWATCHLOGS_
	Enabler  string // the setting that turns it on by any value but "" and "false", e.g. "webhookurl"
	Logs     bool   // whether KubeArmor logs are delivered when <BLOCK>_LOGS does not say
	Digests  bool   // whether its outputs are Digesters
	Serial   bool   // whether there is never more than one request in flight, since all write to the same place
	Settings []Setting
	Limits   Limits
	New      func(s Values) (Output, error)
}

// Setting is one configuration key of an output.
type Setting struct {
	Key     string // lower case, as in YAML: "webhookurl"; the variable is <BLOCK>_WEBHOOKURL; unique within the kind
	Block   string // where the setting is when not in the kind's Block: "aws" for AWS_REGION, which several kinds share
	Name    string // what it is called in that Block when not Key
	Default string
	Secret  bool // also read from <BLOCK>_<KEY>_FILE; never printed
	Map     bool // YAML may give a mapping: it arrives as one "key:value\n" line for each entry
	Usage   string
}

// Values are the settings of one output as given. Name turns a key into what
// the user wrote (variable or YAML path), for error messages.
type Values interface {
	String(key string) string // the value or its default, secrets included
	Name(key string) string
}

// Bool reads a setting that is true or false, as strconv.ParseBool understands it.
func Bool(v Values, key string) (bool, error) {
	b, err := strconv.ParseBool(v.String(key))
	if err != nil {
		return false, fmt.Errorf("%s: %q is neither true nor false", v.Name(key), v.String(key))
	}
	return b, nil
}
