package sqs_test

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/sqs"
	"github.com/sidearmor/sidearmor/schema"
)

func settings(t testing.TB, base string) outputtest.Settings {
	return outputtest.AWS(t, base).With(outputtest.Settings{"url": base + "/123456789012/alerts"})
}

type request struct {
	QueueURL string `json:"QueueUrl"`
	Entries  []struct {
		ID    string `json:"Id"`
		Body  string `json:"MessageBody"`
		Group string `json:"MessageGroupId"`
		Dedup string `json:"MessageDeduplicationId"`
	}
}

// answer takes all messages but those that fail names by what they contain.
func answer(fail map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req request
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &req)
		taken, failed := []map[string]any{}, []map[string]any{}
		for _, e := range req.Entries {
			code := ""
			for text, c := range fail {
				if strings.Contains(e.Body, text) {
					code = c
				}
			}
			if code == "" {
				taken = append(taken, map[string]any{"Id": e.ID, "MessageId": e.ID, "MD5OfMessageBody": fmt.Sprintf("%x", md5.Sum([]byte(e.Body)))})
				continue
			}
			failed = append(failed, map[string]any{"Id": e.ID, "Code": code, "Message": "because", "SenderFault": code == "InvalidMessageContents"})
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_ = json.NewEncoder(w).Encode(map[string]any{"Successful": taken, "Failed": failed})
	}
}

// spec is SQS as the tests see it.
func spec() outputtest.Spec {
	return outputtest.Spec{
		Kind: sqs.Kind(), Settings: settings, Answer: answer(nil), AnswerCounts: true, Classes: outputtest.AWSClasses(true),
		Check: func(t testing.TB, r *http.Request, body []byte) {
			var req request
			outputtest.AWSRequest(t, r, "AmazonSQS.SendMessageBatch", body, &req)
			size := 0
			for _, e := range req.Entries {
				size += len(e.Body)
				if !json.Valid([]byte(e.Body)) || strings.ContainsFunc(e.Body, func(r rune) bool { return r < ' ' || r == 0xfffe || r == 0xffff }) {
					t.Errorf("a message that is no JSON or that SQS refuses: %.300q", e.Body)
				}
			}
			if n := len(req.Entries); n < 1 || n > 10 || size > 256<<10 || !strings.HasSuffix(req.QueueURL, "/alerts") {
				t.Errorf("%d messages of %d bytes to %s", n, size, req.QueueURL)
			}
		},
	}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec()) }

// TestPartial: what the queue did not take comes back, by the service's own words.
func TestPartial(t *testing.T) {
	o := spec().Answered(t, answer(map[string]string{"/usr/bin/python3.11": "InvalidMessageContents", "/usr/bin/tee": "InternalError"}))
	batch := []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect(), outputtest.Falco(), outputtest.Log()}
	err := outputtest.Deliver(t.Context(), t, o, batch)
	outputtest.WantFailed(t, err, outputs.Transient, 1, 3)
	if want := "SQS took all but 2 of 4 events: SQS: InternalError: because"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	err = outputtest.Deliver(t.Context(), t, o, batch[:2])
	outputtest.WantFailed(t, err, outputs.Permanent, 1)
}

// TestMoto delivers to an emulator by the real protocol and reads back what it has.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	client := sdk.NewFromConfig(outputtest.AWSConfig(base))
	for _, name := range []string{"alerts", "alerts.fifo"} {
		t.Run(name, func(t *testing.T) {
			o := outputtest.New(t, sqs.Kind(), outputtest.AWS(t, base).With(outputtest.Settings{"url": base + "/123456789012/" + name}))
			cases := append(outputtest.Cases(), outputtest.Cases()[:4]...)
			batch, want := outputtest.Bodies(t, cases)
			for i := range batch {
				batch[i].ID = cases[i].Name
			}
			attributes := map[string]string{}
			if name == "alerts.fifo" {
				// What is sent twice within five minutes is there once.
				attributes["FifoQueue"], want = "true", want[:8]
			}
			// The queue is not there yet.
			outputtest.WantClass(t, o.Deliver(t.Context(), batch), outputs.Transient)
			if _, err := client.CreateQueue(t.Context(), &sdk.CreateQueueInput{QueueName: &name, Attributes: attributes}); err != nil {
				t.Fatal(err)
			}
			if err := o.Deliver(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			got := receive(t, client, base+"/123456789012/"+name)
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func receive(t *testing.T, client *sdk.Client, url string) []string {
	t.Helper()
	var all []string
	for {
		out, err := client.ReceiveMessage(t.Context(), &sdk.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return all
		}
		for _, m := range out.Messages {
			all = append(all, aws.ToString(m.Body))
			if _, err := client.DeleteMessage(t.Context(), &sdk.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.AWSRefused(t, spec(), map[string]outputtest.Settings{
		"AWS_SQS_URL":         {"url": "alerts"},
		"AWS_SECRETACCESSKEY": {"secretaccesskey": ""},
	})
}
