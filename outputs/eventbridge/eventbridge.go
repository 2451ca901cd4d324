// Package eventbridge puts events on an Amazon EventBridge event bus, the event's JSON
// as the detail of each. It makes no buses, rules or calls before the first delivery,
// and does not retry.
package eventbridge

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/outputs/internal/awsbatch"
	"github.com/sidearmor/sidearmor/schema"
)

// Limits of PutEvents. An entry may have a megabyte; the targets of rules, queues
// among them, take 256 KiB with what EventBridge puts around it
// (https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html).
const (
	maxEntries = 10
	maxBytes   = 1_000_000
	maxDetail  = 250_000
	overhead   = 14 + len(source) + 20 // time, source and type
)

// source tells these events apart on a bus that others use too.
const source = "sidearmor"

// Kind is the EventBridge output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "awseventbridge",
		Block:   "aws.eventbridge",
		Enabler: "busname",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "busname", Usage: "name or ARN of the event bus, default for the account's own; turns the output on"},
		}, awsconfig.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: 100,
			BatchBytes:  1 << 20,
			BatchDelay:  200 * time.Millisecond,
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

var busName = regexp.MustCompile(`^(arn:[a-z-]+:events:[a-z0-9-]+:[0-9]{12}:event-bus/)?[/.\-_A-Za-z0-9]+$`)

const maxName = 1600

type sender struct {
	put awsconfig.Operation[eventbridge.PutEventsInput, eventbridge.PutEventsOutput, eventbridge.Options]
	bus string
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	s := &sender{bus: v.String("busname")}
	if !busName.MatchString(s.bus) || len(s.bus) > maxName {
		return nil, fmt.Errorf("%s: %q is not a name of an event bus", v.Name("busname"), s.bus)
	}
	cfg, err := awsconfig.Load(v)
	if err != nil {
		return nil, err
	}
	s.put = eventbridge.NewFromConfig(cfg).PutEvents
	return &awsbatch.API{
		Service: "EventBridge", Entries: maxEntries, Bytes: maxBytes, Body: maxDetail, Overhead: overhead,
		Encode: (*schema.Event).Body, Send: s.send,
	}, nil
}

func (s *sender) send(ctx context.Context, request []awsbatch.Entry) ([]awsbatch.Fault, error) {
	in := &eventbridge.PutEventsInput{Entries: make([]types.PutEventsRequestEntry, len(request))}
	for i, e := range request {
		in.Entries[i] = types.PutEventsRequestEntry{
			EventBusName: &s.bus, Source: aws.String(source), DetailType: aws.String(detailType(e.Event)),
			Detail: aws.String(string(e.Body)),
		}
		// The SDK writes a number, which has no room for the year 1.
		if t := e.Event.Time(); t.Unix() > 0 {
			in.Entries[i].Time = &t
		}
	}
	out, err := s.put(ctx, in)
	if err != nil {
		return nil, err
	}
	return awsbatch.Placed(out.Entries, len(request), func(r types.PutEventsResultEntry) (*string, *string) {
		return r.ErrorCode, r.ErrorMessage
	})
}

func detailType(e *schema.Event) string {
	switch e.Kind {
	case schema.KindAlert:
		return "KubeArmor Alert"
	case schema.KindLog:
		return "KubeArmor Log"
	}
	return "Falco Event"
}
