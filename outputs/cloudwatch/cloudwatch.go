// Package cloudwatch delivers events to Amazon CloudWatch Logs, one log event
// with the event's JSON for each. It makes the log group and the stream when
// they are missing. It makes no call before the first delivery, and does not
// retry.
package cloudwatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/schema"
)

// Kind is the CloudWatch Logs output. The settings of the aws block are not its
// alone: other outputs on AWS share them.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "awscloudwatchlogs",
		Block:   "aws.cloudwatchlogs",
		Enabler: "loggroup",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "loggroup", Usage: "name of the log group; turns the output on"},
			{Key: "logstream", Usage: "name of the log stream; sidearmor-<host name> when empty, so that each task has its own"},
		}, awsconfig.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: 1000,
			BatchBytes:  maxRequestBytes - 1000*eventOverhead,
			BatchDelay:  time.Second,
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

// The forms that the API allows for names of up to maxName characters. A length
// within an expression makes a program of that size of it.
var (
	groupName  = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]+$`)
	streamName = regexp.MustCompile(`^[^:*]+$`)
)

const maxName = 512

// output keeps one client for good: its connections and credentials are
// refreshed by the SDK.
type output struct {
	putEvents     awsconfig.Operation[cloudwatchlogs.PutLogEventsInput, cloudwatchlogs.PutLogEventsOutput, cloudwatchlogs.Options]
	makeStream    awsconfig.Operation[cloudwatchlogs.CreateLogStreamInput, cloudwatchlogs.CreateLogStreamOutput, cloudwatchlogs.Options]
	makeGroup     awsconfig.Operation[cloudwatchlogs.CreateLogGroupInput, cloudwatchlogs.CreateLogGroupOutput, cloudwatchlogs.Options]
	group, stream string
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	group, stream := v.String("loggroup"), v.String("logstream")
	if !groupName.MatchString(group) || len(group) > maxName {
		return nil, fmt.Errorf("%s: %q is not a name of a log group", v.Name("loggroup"), group)
	}
	if stream == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("%s: not given, and no host name to make it of: %w", v.Name("logstream"), err)
		}
		stream = "sidearmor-" + strings.NewReplacer(":", "-", "*", "-").Replace(host)
	}
	if !streamName.MatchString(stream) || utf8.RuneCountInString(stream) > maxName {
		return nil, fmt.Errorf("%s: %q is not a name of a log stream", v.Name("logstream"), stream)
	}
	cfg, err := awsconfig.Load(v)
	if err != nil {
		return nil, err
	}
	client := cloudwatchlogs.NewFromConfig(cfg)
	return &output{
		putEvents: client.PutLogEvents, makeStream: client.CreateLogStream, makeGroup: client.CreateLogGroup,
		group: group, stream: stream,
	}, nil
}

// Deliver implements outputs.Output. A batch becomes as many requests as the
// API's limits ask for. When a request fails, that one and the ones after it
// have failed; events that the service rejected in the ones before come back
// with them, to be rejected again.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	entries, refused := entriesOf(batch)
	var cause error
	if len(refused) > 0 {
		cause = errors.New("an event cannot be encoded")
	}
	requests := split(entries)
	for i, request := range requests {
		rejected, err := o.put(ctx, request)
		if err != nil {
			for _, later := range requests[i:] {
				refused = append(refused, indexes(later)...)
			}
			return awsconfig.Failure("CloudWatch Logs", err, refused)
		}
		if len(rejected.indexes) > 0 {
			refused, cause = append(refused, rejected.indexes...), rejected.reason
		}
	}
	if cause == nil {
		return nil
	}
	return &outputs.Error{
		Class: outputs.Permanent, Failed: refused,
		Err: fmt.Errorf("CloudWatch Logs took all but %d of %d events: %w", len(refused), len(batch), cause),
	}
}

// put sends one request, and makes the group and the stream when there are
// none. They may be gone again later; nothing is remembered about them.
func (o *output) put(ctx context.Context, request []entry) (rejection, error) {
	input := &cloudwatchlogs.PutLogEventsInput{
		LogGroupName:  &o.group,
		LogStreamName: &o.stream,
		LogEvents:     make([]types.InputLogEvent, len(request)),
	}
	for i := range request {
		input.LogEvents[i] = types.InputLogEvent{Message: &request[i].message, Timestamp: &request[i].millis}
	}
	out, err := o.putEvents(ctx, input)
	if is[*types.ResourceNotFoundException](err) {
		if err := o.create(ctx); err != nil {
			return rejection{}, err
		}
		out, err = o.putEvents(ctx, input)
	}
	if is[*types.DataAlreadyAcceptedException](err) {
		return rejection{}, nil
	}
	if err != nil {
		return rejection{}, err
	}
	return rejectionOf(out.RejectedLogEventsInfo, request), nil
}

// create makes the stream, and before it the group when that is missing too. A
// role that may only make streams is enough where the group exists. Another
// task may do the same at the same time.
func (o *output) create(ctx context.Context) error {
	err := o.createStream(ctx)
	if !is[*types.ResourceNotFoundException](err) {
		return err
	}
	_, err = o.makeGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String(o.group)})
	if err != nil && !is[*types.ResourceAlreadyExistsException](err) {
		return err
	}
	return o.createStream(ctx)
}

func (o *output) createStream(ctx context.Context) error {
	_, err := o.makeStream(ctx, &cloudwatchlogs.CreateLogStreamInput{
		LogGroupName: &o.group, LogStreamName: &o.stream,
	})
	if is[*types.ResourceAlreadyExistsException](err) {
		return nil
	}
	return err
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
