package eventbridge_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/eventbridge"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func settings(t testing.TB, base string) outputtest.Settings {
	return outputtest.AWS(t, base).With(outputtest.Settings{"busname": "security"})
}

type request struct {
	Entries []struct {
		Detail, DetailType, EventBusName, Source string
		Time                                     float64
	}
}

// answers are told apart by what the entries contain.
func answers() outputtest.AWSPlaced {
	return outputtest.AWSPlaced{
		Count: "FailedEntryCount", List: "Entries", Taken: map[string]any{"EventId": "1"},
		Texts: func(body []byte) (details []string) {
			var req request
			_ = json.Unmarshal(body, &req)
			for _, e := range req.Entries {
				details = append(details, e.Detail)
			}
			return details
		},
	}
}

// spec is EventBridge as the tests see it.
func spec() outputtest.Spec {
	return outputtest.Spec{
		Kind: eventbridge.Kind(), Settings: settings, Answer: answers().Answer(nil), AnswerCounts: true, Classes: outputtest.AWSClasses(true),
		Check: func(t testing.TB, r *http.Request, body []byte) {
			var req request
			outputtest.AWSRequest(t, r, "AWSEvents.PutEvents", body, &req)
			all := 0
			for _, e := range req.Entries {
				size := 14 + len(e.Detail) + len(e.DetailType) + len(e.Source)
				all += size
				var detail map[string]any
				if err := json.Unmarshal([]byte(e.Detail), &detail); err != nil || size > 256<<10 || e.Source != "sidearmor" || e.EventBusName != "security" || e.Time < 0 {
					t.Errorf("%v, an entry of %d bytes from %s to %s: %.300s", err, size, e.Source, e.EventBusName, e.Detail)
				}
				if !slices.Contains([]string{"KubeArmor Alert", "KubeArmor Log", "Falco Event"}, e.DetailType) {
					t.Errorf("type %q", e.DetailType)
				}
			}
			if n := len(req.Entries); n < 1 || n > 10 || all > 1<<20 {
				t.Errorf("%d entries of %d bytes", n, all)
			}
		},
	}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec()) }

func TestPartial(t *testing.T) {
	o := spec().Answered(t, answers().Answer(map[string]string{"/usr/bin/python3.11": "ThrottlingException", "falcosidekick": "MalformedDetail"}))
	batch := []schema.Event{outputtest.Falco(), outputtest.BlockedExec(), outputtest.AuditedConnect()}
	err := outputtest.Deliver(t.Context(), t, o, batch)
	outputtest.WantFailed(t, err, outputs.RateLimited, 0, 2)
	err = outputtest.Deliver(t.Context(), t, o, batch[:2])
	outputtest.WantFailed(t, err, outputs.Permanent, 0)
}

// TestMoto puts events on a bus of an emulator by the real protocol and reads what a
// rule sends on of them.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	o := outputtest.New(t, eventbridge.Kind(), settings(t, base))
	bus, queues := sdk.NewFromConfig(outputtest.AWSConfig(base)), sqs.NewFromConfig(outputtest.AWSConfig(base))
	if _, err := bus.CreateEventBus(t.Context(), &sdk.CreateEventBusInput{Name: aws.String("security")}); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.PutRule(t.Context(), &sdk.PutRuleInput{
		Name: aws.String("blocks"), EventBusName: aws.String("security"),
		EventPattern: aws.String(`{"source": ["sidearmor"], "detail": {"Action": ["Block"]}}`),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("blocks")}); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.PutTargets(t.Context(), &sdk.PutTargetsInput{
		Rule: aws.String("blocks"), EventBusName: aws.String("security"),
		Targets: []types.Target{{Id: aws.String("1"), Arn: aws.String("arn:aws:sqs:eu-central-1:123456789012:blocks")}},
	}); err != nil {
		t.Fatal(err)
	}
	blocked := outputtest.BlockedExec()
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.Falco(), blocked, outputtest.AuditedConnect()}); err != nil {
		t.Fatal(err)
	}
	out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String(base + "/123456789012/blocks"), MaxNumberOfMessages: 10})
	if err != nil || len(out.Messages) != 1 {
		t.Fatalf("%d messages, error %v", len(out.Messages), err)
	}
	var got struct {
		Source string          `json:"source"`
		Type   string          `json:"detail-type"`
		Time   string          `json:"time"`
		Detail json.RawMessage `json:"detail"`
	}
	if err := json.Unmarshal([]byte(*out.Messages[0].Body), &got); err != nil {
		t.Fatal(err)
	}
	var detail, want any
	body, err := blocked.Body()
	if err != nil || json.Unmarshal(body, &want) != nil || json.Unmarshal(got.Detail, &detail) != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, detail); diff != "" || got.Source != "sidearmor" || got.Type != "KubeArmor Alert" || got.Time != "2026-03-04T05:06:07Z" {
		t.Errorf("%s, %+v", diff, got)
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.AWSRefused(t, spec(), map[string]outputtest.Settings{
		"AWS_EVENTBRIDGE_BUSNAME": {"busname": "arn:aws:sqs:eu-central-1:123456789012:alerts"},
	})
	for _, name := range []string{"default", "arn:aws-us-gov:events:us-gov-west-1:123456789012:event-bus/security"} {
		outputtest.New(t, eventbridge.Kind(), settings(t, "").With(outputtest.Settings{"busname": name}))
	}
}
