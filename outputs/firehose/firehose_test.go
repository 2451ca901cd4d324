package firehose_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
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

// answers are told apart by what the records contain.
func answers() outputtest.AWSPlaced {
	return outputtest.AWSPlaced{
		Count: "FailedPutCount", List: "RequestResponses", Taken: map[string]any{"RecordId": "1"},
		Texts: func(body []byte) (lines []string) {
			var req request
			_ = json.Unmarshal(body, &req)
			for _, record := range req.Records {
				lines = append(lines, string(record.Data))
			}
			return lines
		},
	}
}

// spec is Firehose as the tests see it.
func spec() outputtest.Spec {
	return outputtest.Spec{
		Kind: firehose.Kind(), Settings: settings, Answer: answers().Answer(nil), AnswerCounts: true, Classes: outputtest.AWSClasses(true),
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
	}
}

func TestConformance(t *testing.T) { outputtest.Run(t, spec()) }

func TestOCSF(t *testing.T) {
	body := spec().With(outputtest.Settings{"format": "ocsf"}).SentEvent(t, outputtest.Falco())
	var req request
	if json.Unmarshal(body, &req) != nil || len(req.Records) != 1 || !bytes.Contains(req.Records[0].Data, []byte(`"class_uid":2004`)) {
		t.Errorf("%.300s", body)
	}
}

func TestPartial(t *testing.T) {
	o := spec().Answered(t, answers().Answer(map[string]string{"billing": "ServiceUnavailableException"}))
	err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.BlockedExec(), outputtest.AuditedConnect(), outputtest.Falco()})
	outputtest.WantFailed(t, err, outputs.Transient, 1)
}

// TestMoto writes to an emulator by the real protocol and reads the object that it
// makes of the records.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	o := outputtest.New(t, firehose.Kind(), settings(t, base))
	batch, bodies := outputtest.Bodies(t, outputtest.Cases())
	want := strings.Join(bodies, "\n") + "\n"
	// The stream is not there yet.
	outputtest.WantClass(t, o.Deliver(t.Context(), batch), outputs.Transient)
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
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestRefusedSettings(t *testing.T) {
	outputtest.AWSRefused(t, spec(), map[string]outputtest.Settings{
		"AWS_FIREHOSE_STREAMNAME": {"streamname": "a b"},
		"AWS_FIREHOSE_FORMAT":     {"format": "OCSF 1.5"},
	})
}
