// Package firehose delivers events to an Amazon Data Firehose stream, one record for
// each: a line of JSON. It makes no streams and no call before the first delivery,
// and does not retry.
package firehose

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/outputs/internal/awsbatch"
	"github.com/sidearmor/sidearmor/outputs/internal/ocsf"
)

// Limits of PutRecordBatch
// (https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html).
const (
	maxEntries = 500
	maxBytes   = 4 << 20
	maxRecord  = 1000<<10 - 1 // and the line end
)

// Kind is the Firehose output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "awsfirehose",
		Block:   "aws.firehose",
		Enabler: "streamname",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "streamname", Usage: "name of the Firehose stream; turns the output on"},
			ocsf.Setting(),
		}, awsconfig.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: maxEntries,
			BatchBytes:  2 << 20,
			BatchDelay:  time.Second,
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

const maxName = 64

type sender struct {
	put    awsconfig.Operation[firehose.PutRecordBatchInput, firehose.PutRecordBatchOutput, firehose.Options]
	stream string
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	s := &sender{stream: v.String("streamname")}
	if !streamName.MatchString(s.stream) || len(s.stream) > maxName {
		return nil, fmt.Errorf("%s: %q is not a name of a stream", v.Name("streamname"), s.stream)
	}
	encode, err := ocsf.Encoder(v)
	if err != nil {
		return nil, err
	}
	cfg, err := awsconfig.Load(v)
	if err != nil {
		return nil, err
	}
	s.put = firehose.NewFromConfig(cfg).PutRecordBatch
	return &awsbatch.API{
		Service: "Firehose", Entries: maxEntries, Bytes: maxBytes, Body: maxRecord, Overhead: 1,
		Encode: encode, Send: s.send,
	}, nil
}

// send ends each record with a line end: Firehose puts records together as they are.
func (s *sender) send(ctx context.Context, request []awsbatch.Entry) ([]awsbatch.Fault, error) {
	in := &firehose.PutRecordBatchInput{DeliveryStreamName: &s.stream, Records: make([]types.Record, len(request))}
	for i, e := range request {
		in.Records[i].Data = append(e.Body, '\n')
	}
	out, err := s.put(ctx, in)
	if err != nil {
		return nil, err
	}
	return awsbatch.Placed(out.RequestResponses, len(request), func(r types.PutRecordBatchResponseEntry) (*string, *string) {
		return r.ErrorCode, r.ErrorMessage
	})
}
