package kinesis_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/kinesis"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func settings(t testing.TB, base string) outputtest.Settings {
	return outputtest.AWS(t, base).With(outputtest.Settings{"streamname": "events"})
}

type request struct {
	StreamName string
	Records    []struct {
		Data         []byte
		PartitionKey string
	}
}

// answers are told apart by the keys of the records.
func answers() outputtest.AWSPlaced {
	return outputtest.AWSPlaced{
		Count: "FailedRecordCount", List: "Records",
		Taken: map[string]any{"SequenceNumber": "1", "ShardId": "shardId-000000000000"},
		Texts: func(body []byte) (keys []string) {
			var req request
			_ = json.Unmarshal(body, &req)
			for _, record := range req.Records {
				keys = append(keys, record.PartitionKey)
			}
			return keys
		},
	}
}

// spec is Kinesis as the tests see it.
func spec() outputtest.Spec {
	return outputtest.Spec{
		Kind: kinesis.Kind(), Settings: settings, Answer: answers().Answer(nil), AnswerCounts: true, Classes: outputtest.AWSClasses(true),
		Check: func(t testing.TB, r *http.Request, body []byte) {
			var req request
			outputtest.AWSRequest(t, r, "Kinesis_20131202.PutRecords", body, &req)
			all := 0
			for _, record := range req.Records {
				size := len(record.Data) + len(record.PartitionKey)
				all += size
				if n := utf8.RuneCountInString(record.PartitionKey); n < 1 || n > 256 || size > 1<<20 || !json.Valid(record.Data) {
					t.Errorf("a record of %d bytes with a key of %d characters: %.300s", size, n, record.Data)
				}
			}
			if n := len(req.Records); n < 1 || n > 500 || all > 5<<20 || req.StreamName != "events" {
				t.Errorf("%d records of %d bytes to %q", n, all, req.StreamName)
			}
		},
	}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec()) }

// TestPartial: what a shard had no room for comes back as a matter of rate.
func TestPartial(t *testing.T) {
	o := spec().Answered(t, answers().Answer(map[string]string{"billing/": "ProvisionedThroughputExceededException"}))
	err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect(), outputtest.Falco()})
	outputtest.WantFailed(t, err, outputs.RateLimited, 1)
}

// TestMoto writes to an emulator by the real protocol and reads back what it has.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	client := sdk.NewFromConfig(outputtest.AWSConfig(base))
	o := outputtest.New(t, kinesis.Kind(), settings(t, base))
	batch, want := outputtest.Bodies(t, outputtest.Cases())
	// The stream is not there yet.
	outputtest.WantClass(t, o.Deliver(t.Context(), batch), outputs.Transient)
	if _, err := client.CreateStream(t.Context(), &sdk.CreateStreamInput{StreamName: aws.String("events"), ShardCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	if err := o.Deliver(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	iterator, err := client.GetShardIterator(t.Context(), &sdk.GetShardIteratorInput{
		StreamName: aws.String("events"), ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := client.GetRecords(t.Context(), &sdk.GetRecordsInput{ShardIterator: iterator.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range out.Records {
		got = append(got, string(r.Data))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.AWSRefused(t, spec(), map[string]outputtest.Settings{
		"AWS_KINESIS_STREAMNAME": {"streamname": "a b"},
	})
	outputtest.Refused(t, kinesis.Kind(), settings(t, "").With(outputtest.Settings{"streamname": strings.Repeat("a", 129)}), "AWS_KINESIS_STREAMNAME")
}
