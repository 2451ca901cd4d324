package sqs_test

import (
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
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
	})
}

// TestPartial: what the queue did not take comes back, by the service's own words.
func TestPartial(t *testing.T) {
	srv := httptest.NewServer(answer(map[string]string{"/usr/bin/python3.11": "InvalidMessageContents", "/usr/bin/tee": "InternalError"}))
	defer srv.Close()
	o := outputtest.New(t, sqs.Kind(), settings(t, srv.URL))
	batch := []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect(), outputtest.Falco(), outputtest.Log()}
	err := outputtest.Deliver(t.Context(), t, o, batch)
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.Transient || !slices.Equal(e.Failed, []int{1, 3}) ||
		e.Error() != "SQS took all but 2 of 4 events: SQS: InternalError: because" {
		t.Errorf("%v", err)
	}
	err = outputtest.Deliver(t.Context(), t, o, batch[:2])
	if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.Permanent || !slices.Equal(e.Failed, []int{1}) {
		t.Errorf("%v", err)
	}
}

// TestMoto delivers to an emulator by the real protocol and reads back what it has.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	client := sdk.NewFromConfig(outputtest.AWSConfig(base))
	for _, name := range []string{"alerts", "alerts.fifo"} {
		t.Run(name, func(t *testing.T) {
			o := outputtest.New(t, sqs.Kind(), outputtest.AWS(t, base).With(outputtest.Settings{"url": base + "/123456789012/" + name}))
			var batch []schema.Event
			var want []string
			for _, c := range append(outputtest.Cases(), outputtest.Cases()[:4]...) {
				body, err := c.Event.Body()
				if err != nil {
					t.Fatal(err)
				}
				c.Event.ID = c.Name
				batch, want = append(batch, c.Event), append(want, string(body))
			}
			attributes := map[string]string{}
			if name == "alerts.fifo" {
				// What is sent twice within five minutes is there once.
				attributes["FifoQueue"], want = "true", want[:8]
			}
			err := o.Deliver(t.Context(), batch)
			if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.Transient {
				t.Errorf("without a queue: %v", err)
			}
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
	for want, change := range map[string]outputtest.Settings{
		"AWS_SQS_URL":         {"url": "alerts"},
		"AWS_REGION":          {"region": ""},
		"AWS_SECRETACCESSKEY": {"secretaccesskey": ""},
	} {
		outputtest.Refused(t, sqs.Kind(), settings(t, "http://127.0.0.1:1").With(change), want)
	}
}
