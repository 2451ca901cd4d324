package sns_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/sns"
	"github.com/sidearmor/sidearmor/schema"
)

const topic = "arn:aws:sns:eu-central-1:123456789012:alerts"

func settings(t testing.TB, base string) outputtest.Settings {
	return outputtest.AWS(t, base).With(outputtest.Settings{"topicarn": topic})
}

// message is an entry of PublishBatch as it comes in a form.
type message struct {
	ID         string
	Message    string
	Attributes map[string]string
	Group      string
}

func messages(t testing.TB, body []byte) []message {
	t.Helper()
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("Action") != "PublishBatch" || !strings.HasPrefix(form.Get("TopicArn"), topic) {
		t.Errorf("%v %.300s", err, body)
	}
	var list []message
	for i := 1; ; i++ {
		entry := fmt.Sprintf("PublishBatchRequestEntries.member.%d.", i)
		if !form.Has(entry + "Id") {
			return list
		}
		m := message{ID: form.Get(entry + "Id"), Message: form.Get(entry + "Message"), Group: form.Get(entry + "MessageGroupId"), Attributes: map[string]string{}}
		for j := 1; form.Has(fmt.Sprintf("%sMessageAttributes.entry.%d.Name", entry, j)); j++ {
			attribute := fmt.Sprintf("%sMessageAttributes.entry.%d.", entry, j)
			m.Attributes[form.Get(attribute+"Name")] = form.Get(attribute + "Value.StringValue")
			if form.Get(attribute+"Value.DataType") != "String" {
				t.Errorf("type of %s: %s", form.Get(attribute+"Name"), form.Get(attribute+"Value.DataType"))
			}
		}
		list = append(list, m)
	}
}

// answer takes all messages but those that contain fail.
func answer(t testing.TB, fail string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var taken, failed strings.Builder
		for _, m := range messages(t, body) {
			if fail != "" && strings.Contains(m.Message, fail) {
				fmt.Fprintf(&failed, "<member><Id>%s</Id><Code>InternalError</Code><Message>because</Message><SenderFault>false</SenderFault></member>", m.ID)
				continue
			}
			fmt.Fprintf(&taken, "<member><Id>%s</Id><MessageId>%[1]s</MessageId></member>", m.ID)
		}
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult><Successful>%s</Successful><Failed>%s</Failed></PublishBatchResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></PublishBatchResponse>`, taken.String(), failed.String())
	}
}

// takes says whether SNS takes text: no empty one, and characters of XML only.
func takes(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' && r < 0x7f || r == 0xfffe || r == 0xffff
	})
}

// spec is SNS as the tests see it, with the setting rawjson.
func spec(t testing.TB, raw string) outputtest.Spec {
	return outputtest.Spec{
		Kind: sns.Kind(), Answer: answer(t, ""), AnswerCounts: true, Classes: outputtest.AWSClasses(true),
		Settings: func(t testing.TB, base string) outputtest.Settings {
			return settings(t, base).With(outputtest.Settings{"rawjson": raw})
		},
		Check: func(t testing.TB, _ *http.Request, body []byte) {
			size, list := 0, messages(t, body)
			for _, m := range list {
				size += len(m.Message)
				for name, value := range m.Attributes {
					size += len(name) + len("String") + len(value)
					if !takes(value) {
						t.Errorf("attribute %s: %q", name, value)
					}
				}
				if !takes(m.Message) || len(m.Attributes) > 10 || (raw == "true") != json.Valid([]byte(m.Message)) {
					t.Errorf("%d attributes, message %.300q", len(m.Attributes), m.Message)
				}
			}
			if len(list) < 1 || len(list) > 10 || size > 256<<10 {
				t.Errorf("%d messages of %d bytes", len(list), size)
			}
		},
	}
}

func TestConformance(t *testing.T) {
	for _, raw := range []string{"false", "true"} {
		t.Run("rawjson "+raw, func(t *testing.T) { outputtest.Run(t, spec(t, raw)) })
	}
}

func TestGolden(t *testing.T) {
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			got := messages(t, spec(t, "false").SentEvent(t, c.Event))
			if len(got) != 1 {
				t.Fatal(got)
			}
			body, err := json.Marshal(got[0])
			if err != nil {
				t.Fatal(err)
			}
			outputtest.GoldenJSON(t, c.Name+".json", body)
		})
	}
}

func TestPartial(t *testing.T) {
	o := spec(t, "false").Answered(t, answer(t, "/usr/bin/python3.11"))
	err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect(), outputtest.Falco()})
	outputtest.WantFailed(t, err, outputs.Transient, 1)
}

// TestMoto publishes to an emulator by the real protocol and reads what a queue that
// is subscribed gets of it.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	topics, queues := sdk.NewFromConfig(outputtest.AWSConfig(base)), sqs.NewFromConfig(outputtest.AWSConfig(base))
	for _, name := range []string{"alerts", "alerts.fifo"} {
		t.Run(name, func(t *testing.T) {
			o := outputtest.New(t, sns.Kind(), settings(t, base).With(outputtest.Settings{"topicarn": strings.Replace(topic, "alerts", name, 1)}))
			batch := []schema.Event{outputtest.BlockedExec(), outputtest.Falco()}
			// The topic is not there yet.
			outputtest.WantClass(t, o.Deliver(t.Context(), batch), outputs.Transient)
			attributes := map[string]string{}
			if name == "alerts.fifo" {
				attributes["FifoTopic"] = "true"
			}
			made, err := topics.CreateTopic(t.Context(), &sdk.CreateTopicInput{Name: &name, Attributes: attributes})
			if err != nil {
				t.Fatal(err)
			}
			queue := "of-" + strings.TrimSuffix(name, ".fifo")
			if _, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &queue}); err != nil {
				t.Fatal(err)
			}
			if _, err := topics.Subscribe(t.Context(), &sdk.SubscribeInput{
				TopicArn: made.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:eu-central-1:123456789012:" + queue),
				Attributes: map[string]string{"RawMessageDelivery": "true"},
			}); err != nil {
				t.Fatal(err)
			}
			if err := o.Deliver(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
				QueueUrl: aws.String(base + "/123456789012/" + queue), MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
			})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, m := range out.Messages {
				got[aws.ToString(m.Body)] = aws.ToString(m.MessageAttributes["priority"].StringValue)
			}
			want := map[string]string{batch[0].ToFalco().Output: "Critical", batch[1].Falco.Output: "Debug"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.AWSRefused(t, spec(t, "false"), map[string]outputtest.Settings{
		"AWS_SNS_TOPICARN": {"topicarn": "arn:aws:sqs:eu-central-1:123456789012:alerts"},
		"AWS_SNS_RAWJSON":  {"rawjson": "yes"},
	})
}
