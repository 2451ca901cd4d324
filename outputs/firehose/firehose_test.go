package firehose_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/firehose"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func settings(t testing.TB, base string) outputtest.Settings {
	return outputtest.AWS(t, base).With(outputtest.Settings{"streamname": "events"})
}

type request struct {
	DeliveryStreamName string
	Records            []struct{ Data []byte }
}

// answer takes all records but those that contain fail.
func answer(fail string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req request
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &req)
		results, failed := []map[string]any{}, 0
		for i, record := range req.Records {
			result := map[string]any{"RecordId": fmt.Sprint(i)}
			if fail != "" && bytes.Contains(record.Data, []byte(fail)) {
				result, failed = map[string]any{"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}, failed+1
			}
			results = append(results, result)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_ = json.NewEncoder(w).Encode(map[string]any{"FailedPutCount": failed, "RequestResponses": results})
	}
}

func TestConformance(t *testing.T) {
	outputtest.Run(t, outputtest.Spec{
		Kind: firehose.Kind(), Settings: settings, Answer: answer(""), AnswerCounts: true, Classes: outputtest.AWSClasses(true),
		Check: func(t testing.TB, r *http.Request, body []byte) {
			var req request
			outputtest.AWSRequest(t, r, "Firehose_20150804.PutRecordBatch", body, &req)
			all := 0
			for _, record := range req.Records {
				all += len(record.Data)
				if len(record.Data) > 1000<<10 || !json.Valid(record.Data) || bytes.IndexByte(record.Data, '\n') != len(record.Data)-1 {
					t.Errorf("a record of %d bytes: %.300s", len(record.Data), record.Data)
				}
			}
			if n := len(req.Records); n < 1 || n > 500 || all > 4<<20 || req.DeliveryStreamName != "events" {
				t.Errorf("%d records of %d bytes to %q", n, all, req.DeliveryStreamName)
			}
		},
	})
}

func TestOCSF(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req request
		body, _ := io.ReadAll(r.Body)
		if json.Unmarshal(body, &req) != nil || len(req.Records) != 1 || !bytes.Contains(req.Records[0].Data, []byte(`"class_uid":2004`)) {
			t.Errorf("%.300s", body)
		}
		_, _ = io.WriteString(w, `{"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}]}`)
	}))
	defer srv.Close()
	o := outputtest.New(t, firehose.Kind(), settings(t, srv.URL).With(outputtest.Settings{"format": "ocsf"}))
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.Falco()}); err != nil {
		t.Error(err)
	}
	outputtest.Refused(t, firehose.Kind(), settings(t, srv.URL).With(outputtest.Settings{"format": "OCSF 1.5"}), "AWS_FIREHOSE_FORMAT")
}

func TestPartial(t *testing.T) {
	srv := httptest.NewServer(answer("billing"))
	defer srv.Close()
	o := outputtest.New(t, firehose.Kind(), settings(t, srv.URL))
	err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect(), outputtest.Falco()})
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.Transient || !slices.Equal(e.Failed, []int{1}) {
		t.Errorf("%v", err)
	}
}

// TestMoto writes to an emulator by the real protocol and reads the object that it
// makes of the records.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	o := outputtest.New(t, firehose.Kind(), settings(t, base))
	var batch []schema.Event
	var want bytes.Buffer
	for _, c := range outputtest.Cases() {
		body, err := c.Event.Body()
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, c.Event)
		want.Write(append(body, '\n'))
	}
	err := o.Deliver(t.Context(), batch)
	if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.Transient {
		t.Errorf("without a stream: %v", err)
	}
	store := s3.NewFromConfig(outputtest.AWSConfig(base), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := store.CreateBucket(t.Context(), &s3.CreateBucketInput{
		Bucket: aws.String("lake"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := sdk.NewFromConfig(outputtest.AWSConfig(base)).CreateDeliveryStream(t.Context(), &sdk.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("events"),
		ExtendedS3DestinationConfiguration: &types.ExtendedS3DestinationConfiguration{
			BucketARN: aws.String("arn:aws:s3:::lake"), RoleARN: aws.String("arn:aws:iam::123456789012:role/firehose"),
		},
	}); err != nil {
		t.Fatal(err)
	}
	if err := o.Deliver(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	list, err := store.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("lake")})
	if err != nil || len(list.Contents) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	object, err := store.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("lake"), Key: list.Contents[0].Key})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Body.Close()
	got, err := io.ReadAll(object.Body)
	if diff := cmp.Diff(want.String(), string(got)); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestRefusedSettings(t *testing.T) {
	for want, change := range map[string]outputtest.Settings{
		"AWS_FIREHOSE_STREAMNAME": {"streamname": "a b"},
		"AWS_REGION":              {"region": ""},
	} {
		outputtest.Refused(t, firehose.Kind(), settings(t, "http://127.0.0.1:1").With(change), want)
	}
}
