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

// startCloudWatch gives nil where there is no moto: it comes with no package
// that this project could install.
func startCloudWatch(t *testing.T) *cloudWatch {
	t.Helper()
	moto, err := exec.LookPath("moto_server")
	if err != nil {
		t.Log("CloudWatch Logs is left out: moto_server is not installed")
		return nil
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
	c := &cloudWatch{url: "http://127.0.0.1:" + port}
	eventually(t, func() (bool, string) {
		resp, err := http.Get(c.url + "/moto-api/data.json")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
	c.client = cloudwatchlogs.New(cloudwatchlogs.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(c.url),
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	return c
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
