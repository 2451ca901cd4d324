// Package sqs delivers events to an Amazon SQS queue, one message with the event's
// JSON for each. It makes no queues and no call before the first delivery, and does
// not retry.
package sqs

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/outputs/internal/awsbatch"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
)

// Limits of SendMessageBatch. Messages may have 1 MiB since 2025, but queues that are
// older keep the 256 KiB that they were made with
// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html).
const (
	maxEntries = 10
	maxBytes   = 256 << 10
)

// Kind is the SQS output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "awssqs",
		Block:   "aws.sqs",
		Enabler: "url",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "url", Usage: "address of the queue; turns the output on"},
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

type sender struct {
	put awsconfig.Operation[sqs.SendMessageBatchInput, sqs.SendMessageBatchOutput, sqs.Options]
	url string
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	s := &sender{url: v.String("url")}
	if err := httppost.CheckURL(v.Name("url"), s.url); err != nil {
		return nil, err
	}
	cfg, err := awsconfig.Load(v)
	if err != nil {
		return nil, err
	}
	s.put = sqs.NewFromConfig(cfg).SendMessageBatch
	return &awsbatch.API{
		Service: "SQS", Entries: maxEntries, Bytes: maxBytes, Body: maxBytes,
		Encode: awsbatch.Message, Send: s.send,
	}, nil
}

func (s *sender) send(ctx context.Context, request []awsbatch.Entry) ([]awsbatch.Fault, error) {
	in := &sqs.SendMessageBatchInput{QueueUrl: &s.url, Entries: make([]types.SendMessageBatchRequestEntry, len(request))}
	for i, e := range request {
		in.Entries[i] = types.SendMessageBatchRequestEntry{Id: awsbatch.Name(i), MessageBody: aws.String(string(e.Body))}
		if strings.HasSuffix(s.url, ".fifo") {
			group, id := awsbatch.FIFO(e.Event)
			in.Entries[i].MessageGroupId, in.Entries[i].MessageDeduplicationId = &group, &id
		}
	}
	out, err := s.put(ctx, in)
	if err != nil {
		return nil, err
	}
	return awsbatch.Named(out.Failed, len(out.Successful), len(request), func(f types.BatchResultErrorEntry) (*string, awsbatch.Fault) {
		return f.Id, awsbatch.Fault{Code: aws.ToString(f.Code), Message: aws.ToString(f.Message), Class: awsbatch.Sender(f.SenderFault)}
	})
}
