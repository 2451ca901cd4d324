package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// awsPolicies starts a sidekick that has its policies from AWS, and a workload. A place
// without a policy lets the workload start.
func awsPolicies(t *testing.T, base, setting string) (*sidekick, *chat, *opener, string) {
	t.Helper()
	file, slack := secretFile(t), newChat(t, 200)
	s := startSidekick(t, setting, "POLICIES_INTERVAL=1s", "SLACK_WEBHOOKURL="+slack.URL, "DIGEST_WINDOW=0", "AUTH_TOKEN="+postToken,
		"AWS_ENDPOINT_URL="+base, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=secret")
	return s, slack, startOpener(t, s), file
}

// needMoto skips a test for want of the emulator.
func needMoto(t *testing.T) string {
	t.Helper()
	base := startMoto(t)
	if base == "" {
		// No package that CI could install has it; os.Getenv("CI") changes nothing.
		t.Skip("moto_server is not installed; CI=", os.Getenv("CI"))
	}
	return base
}

func TestPolicyFromAParameter(t *testing.T) {
	base := needMoto(t)
	client := ssm.NewFromConfig(awsAt(base))
	put := func(value string) {
		t.Helper()
		_, err := client.PutParameter(t.Context(), &ssm.PutParameterInput{
			Name: aws.String("/sidearmor/policies"), Value: &value, Type: types.ParameterTypeString, Overwrite: aws.Bool(true),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("# none yet")
	s, slack, w, file := awsPolicies(t, base, "POLICIES_SSM=/sidearmor/policies")
	checkLive(t, s, slack, w, file, func() { put(blockFile("block-secret", file)) }, func() {}, func() {}, func() {
		if _, err := client.DeleteParameter(t.Context(), &ssm.DeleteParameterInput{Name: aws.String("/sidearmor/policies")}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPolicyFromAnObject(t *testing.T) {
	base := needMoto(t)
	client, bucket, key := s3.NewFromConfig(awsAt(base)), aws.String("sidearmor"), aws.String("fleet/live.yaml")
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	s, slack, w, file := awsPolicies(t, base, "POLICIES_S3=s3://sidearmor/fleet/")
	checkLive(t, s, slack, w, file, func() {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(blockFile("block-secret", file))}); err != nil {
			t.Fatal(err)
		}
	}, func() {}, func() {}, func() {
		if _, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil {
			t.Fatal(err)
		}
	})
}
