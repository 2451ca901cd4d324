package s3_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/s3"
	"github.com/sidearmor/sidearmor/schema"
)

// TestMoto delivers to a real server by the real protocol and reads back what
// it stored.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	o := outputtest.New(t, s3.Kind(), settings(t, base))
	var batch []schema.Event
	var want bytes.Buffer
	for _, c := range outputtest.Cases() {
		batch = append(batch, c.Event)
		body, err := c.Event.Body()
		if err != nil {
			t.Fatal(err)
		}
		want.Write(append(body, '\n'))
	}
	err := o.Deliver(t.Context(), batch)
	if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.Transient || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("without a bucket: %v", err)
	}
	client := sdk.NewFromConfig(outputtest.AWSConfig(base), func(o *sdk.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &sdk.CreateBucketInput{
		Bucket:                    aws.String("evidence"),
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-central-1"},
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time the object is replaced
		if err := o.Deliver(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	list, err := client.ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{Bucket: aws.String("evidence"), Prefix: aws.String("sidearmor/2026/03/04/")})
	if err != nil || len(list.Contents) != 1 {
		t.Fatalf("%d objects, error %v", len(list.Contents), err)
	}
	object, err := client.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: aws.String("evidence"), Key: list.Contents[0].Key})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Body.Close()
	body, err := io.ReadAll(object.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := unpack(t, body); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("stored:\n%.500s\nwant:\n%.500s", got, want.Bytes())
	}
}
