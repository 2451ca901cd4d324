package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

// cloudWatch is a CloudWatch Logs endpoint, moto's.
type cloudWatch struct {
	url    string
	client *cloudwatchlogs.Client
}

// startMoto starts an emulator of AWS and gives its address: "" where there is none, as
// it comes with no package that this project could install.
func startMoto(t *testing.T) string {
	t.Helper()
	moto, err := exec.LookPath("moto_server")
	if err != nil {
		return ""
	}
	port := freePort(t)
	server := exec.Command(moto, "-H", "127.0.0.1", "-p", port)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill() // it holds nothing
		_ = server.Wait()
	})
	base := "http://127.0.0.1:" + port
	eventually(t, func() (bool, string) {
		resp, err := http.Get(base + "/moto-api/data.json")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
	return base
}

// startCloudWatch gives nil where there is no emulator.
func startCloudWatch(t *testing.T) *cloudWatch {
	t.Helper()
	base := startMoto(t)
	if base == "" {
		t.Log("CloudWatch Logs is left out: moto_server is not installed")
		return nil
	}
	return &cloudWatch{url: base, client: cloudwatchlogs.NewFromConfig(awsAt(base))}
}

// awsAt is how the test uses AWS.
func awsAt(base string) aws.Config {
	return aws.Config{Region: "us-east-1", BaseEndpoint: &base, Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "")}
}

// env is what a sidekick needs to deliver there.
func (c *cloudWatch) env() []string {
	if c == nil {
		return nil
	}
	return []string{
		"AWS_ENDPOINT_URL=" + c.url, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=secret",
		"AWS_CLOUDWATCHLOGS_LOGGROUP=/sidearmor/e2e", "AWS_CLOUDWATCHLOGS_LOGSTREAM=shop",
	}
}

// events gives what was delivered, in the order of the stream.
func (c *cloudWatch) events(t *testing.T) []string {
	t.Helper()
	var out []string
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(c.client, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("/sidearmor/e2e")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			return nil // the group is made with the first event
		}
		for _, e := range page.Events {
			out = append(out, aws.ToString(e.Message))
		}
	}
	return out
}

// alertsOf leaves the alerts of a list of KubeArmor events.
func alertsOf(t *testing.T, events []string) []string {
	t.Helper()
	var out []string
	for _, e := range events {
		var fields struct{ PolicyName string }
		if err := json.Unmarshal([]byte(e), &fields); err != nil {
			t.Fatalf("%v: %s", err, e)
		}
		if fields.PolicyName != "" {
			out = append(out, e)
		}
	}
	return out
}
