// Package sns publishes events to an Amazon SNS topic, one message for each: its
// sentence, or its JSON. It makes no topics and no call before the first delivery,
// and does not retry.
package sns

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/outputs/internal/awsbatch"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/schema"
)

// Limits of PublishBatch
// (https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html).
const (
	maxEntries    = 10
	maxBytes      = 256 << 10
	maxAttributes = 8 << 10 // what attributes cost at most: see attributes
	maxValue      = 250     // of an attribute, in UTF-16 units
	maxSentence   = 8000    // of a message that people read
)

// Kind is the SNS output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "awssns",
		Block:   "aws.sns",
		Enabler: "topicarn",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "topicarn", Usage: "ARN of the topic; turns the output on"},
			{Key: "rawjson", Default: "false", Usage: "true sends the event's JSON instead of a sentence"},
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
	put   awsconfig.Operation[sns.PublishBatchInput, sns.PublishBatchOutput, sns.Options]
	topic string
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	s := &sender{topic: v.String("topicarn")}
	if a, err := arn.Parse(s.topic); err != nil || a.Service != "sns" || a.Resource == "" {
		return nil, fmt.Errorf("%s: %q is not the ARN of a topic", v.Name("topicarn"), s.topic)
	}
	raw, err := outputs.Bool(v, "rawjson")
	if err != nil {
		return nil, err
	}
	cfg, err := awsconfig.Load(v)
	if err != nil {
		return nil, err
	}
	s.put = sns.NewFromConfig(cfg).PublishBatch
	api := &awsbatch.API{
		Service: "SNS", Entries: maxEntries, Bytes: maxBytes, Body: maxBytes - maxAttributes, Overhead: maxAttributes,
		Encode: sentence, Send: s.send,
	}
	if raw {
		api.Encode = awsbatch.Message
	}
	return api, nil
}

func (s *sender) send(ctx context.Context, request []awsbatch.Entry) ([]awsbatch.Fault, error) {
	in := &sns.PublishBatchInput{TopicArn: &s.topic, PublishBatchRequestEntries: make([]types.PublishBatchRequestEntry, len(request))}
	for i, e := range request {
		entry := types.PublishBatchRequestEntry{
			Id: awsbatch.Name(i), Message: aws.String(string(e.Body)), MessageAttributes: attributes(e.Event),
		}
		if strings.HasSuffix(s.topic, ".fifo") {
			group, id := awsbatch.FIFO(e.Event)
			entry.MessageGroupId, entry.MessageDeduplicationId = &group, &id
		}
		in.PublishBatchRequestEntries[i] = entry
	}
	out, err := s.put(ctx, in)
	if err != nil {
		return nil, err
	}
	return awsbatch.Named(out.Failed, len(out.Successful), len(request), func(f types.BatchResultErrorEntry) (*string, awsbatch.Fault) {
		return f.Id, awsbatch.Fault{Code: aws.ToString(f.Code), Message: aws.ToString(f.Message), Class: awsbatch.Sender(f.SenderFault)}
	})
}

// sentence is what FalcoSidekick sends: the output of a Falco event, which a KubeArmor
// event gets by its conversion. SNS takes only characters of XML, and no empty text.
func sentence(e *schema.Event) ([]byte, error) {
	f := e.ToFalco()
	text := clip.Lines(strings.TrimSpace(f.Output), maxSentence, nil)
	if text == "" {
		text = "event without a text"
	}
	return []byte(text), nil
}

// attributes are for the filters of subscriptions. There are fewer than ten: SNS
// drops a message with more on its way to a queue.
func attributes(e *schema.Event) map[string]types.MessageAttributeValue {
	f := e.ToFalco()
	values := map[string]string{
		"kind": string(e.Kind), "priority": f.Priority.String(), "rule": f.Rule, "source": f.Source, "hostname": f.Hostname,
	}
	for _, key := range []string{"k8s.ns.name", "k8s.pod.name", "container.name"} {
		values[key], _ = f.OutputFields[key].(string)
	}
	if e.Alert != nil {
		values["action"] = e.Alert.Action
	}
	list := map[string]types.MessageAttributeValue{}
	for key, value := range values {
		if text := clip.Line(value, maxValue, nil); text != "" {
			list[key] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &text}
		}
	}
	return list
}
