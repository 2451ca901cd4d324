package kinesis_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
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

// answer takes all records but those of keys that begin with what fail names.
func answer(fail map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req request
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &req)
		results, failed := []map[string]any{}, 0
		for i, record := range req.Records {
			result := map[string]any{"SequenceNumber": fmt.Sprint(i), "ShardId": "shardId-000000000000"}
			for key, code := range fail {
				if strings.HasPrefix(record.PartitionKey, key) {
					result, failed = map[string]any{"ErrorCode": code, "ErrorMessage": "because"}, failed+1
				}
			}
			results = append(results, result)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(map[string]any{"FailedRecordCount": failed, "Records": results})
	}
}

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind: kinesis.Kind(), Settings: settings, Answer: answer(nil), AnswerCounts: true, Classes: outputtest.AWSClasses(true),
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
	})
}

// TestPartial: what a shard had no room for comes back as a matter of rate.
func TestPartial(t *testing.T) {
	srv := httptest.NewServer(answer(map[string]string{"billing/": "ProvisionedThroughputExceededException"}))
	defer srv.Close()
	o := outputtest.New(t, kinesis.Kind(), settings(t, srv.URL))
	err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect(), outputtest.Falco()})
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.RateLimited || !slices.Equal(e.Failed, []int{1}) {
		t.Errorf("%v", err)
	}
}

// TestMoto writes to an emulator by the real protocol and reads back what it has.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	client := sdk.NewFromConfig(outputtest.AWSConfig(base))
	o := outputtest.New(t, kinesis.Kind(), settings(t, base))
	var batch []schema.Event
	var want []string
	for _, c := range outputtest.Cases() {
		body, err := c.Event.Body()
		if err != nil {
			t.Fatal(err)
		}
		batch, want = append(batch, c.Event), append(want, string(body))
	}
	err := o.Deliver(t.Context(), batch)
	if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.Transient {
		t.Errorf("without a stream: %v", err)
	}
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
	for want, change := range map[string]outputtest.Settings{
		"AWS_KINESIS_STREAMNAME": {"streamname": "a b"},
		"AWS_REGION":             {"region": ""},
	} {
		outputtest.Refused(t, kinesis.Kind(), settings(t, "http://127.0.0.1:1").With(change), want)
	}
	outputtest.Refused(t, kinesis.Kind(), settings(t, "").With(outputtest.Settings{"streamname": strings.Repeat("a", 129)}), "AWS_KINESIS_STREAMNAME")
}
