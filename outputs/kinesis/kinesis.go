// Package kinesis writes events to an Amazon Kinesis data stream, one record with the
// event's JSON for each. It makes no streams and no call before the first delivery,
// and does not retry.
package kinesis

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/outputs/internal/awsbatch"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Limits of PutRecords. A stream can be made to take larger records; a megabyte is
// what every stream takes
// (https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html).
const (
	maxEntries = 500
	maxBytes   = 5 << 20
	maxKey     = 250 // UTF-16 units, of the 256 characters that a partition key may have
	keyBytes   = 4 * maxKey
	maxRecord  = 1<<20 - keyBytes
)

// Kind is the Kinesis output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "awskinesis",
		Block:   "aws.kinesis",
		Enabler: "streamname",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "streamname", Usage: "name of the data stream; turns the output on"},
		}, awsconfig.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: maxEntries,
			BatchBytes:  2 << 20,
			BatchDelay:  200 * time.Millisecond,
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

const maxName = 128

type sender struct {
	put    awsconfig.Operation[kinesis.PutRecordsInput, kinesis.PutRecordsOutput, kinesis.Options]
	stream string
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	s := &sender{stream: v.String("streamname")}
	if !streamName.MatchString(s.stream) || len(s.stream) > maxName {
		return nil, fmt.Errorf("%s: %q is not a name of a stream", v.Name("streamname"), s.stream)
	}
	cfg, err := awsconfig.Load(v)
	if err != nil {
		return nil, err
	}
	s.put = kinesis.NewFromConfig(cfg).PutRecords
	return &awsbatch.API{
		Service: "Kinesis", Entries: maxEntries, Bytes: maxBytes, Body: maxRecord, Overhead: keyBytes,
		Encode: (*schema.Event).Body, Send: s.send,
	}, nil
}

func (s *sender) send(ctx context.Context, request []awsbatch.Entry) ([]awsbatch.Fault, error) {
	in := &kinesis.PutRecordsInput{StreamName: &s.stream, Records: make([]types.PutRecordsRequestEntry, len(request))}
	for i, e := range request {
		// By the place, so that all events of a container are in one shard.
		key := clip.Line(cmp.Or(summary.Place(e.Event), "sidearmor"), maxKey, nil)
		in.Records[i] = types.PutRecordsRequestEntry{Data: e.Body, PartitionKey: aws.String(key)}
	}
	out, err := s.put(ctx, in)
	if err != nil {
		return nil, err
	}
	return awsbatch.Placed(out.Records, len(request), func(r types.PutRecordsResultEntry) (*string, *string) {
		return r.ErrorCode, r.ErrorMessage
	})
}
