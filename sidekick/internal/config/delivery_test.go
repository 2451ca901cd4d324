package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

func TestDelivery(t *testing.T) {
	digesting := kind("slack", "slack", "webhookurl", outputs.Setting{Key: "webhookurl", Secret: true})
	digesting.Digests = true
	all := []outputs.Kind{digesting, kind("webhook", "webhook", "address", outputs.Setting{Key: "address", Secret: true})}
	on := []string{"SLACK_WEBHOOKURL=https://a", "SLACK_2_WEBHOOKURL=https://b", "SLACK_2_NAME=b", "WEBHOOK_ADDRESS=https://c"}
	for _, c := range []struct {
		name string
		text string
		env  []string
		want string // the stop, and the windows of the outputs
		err  string
	}{
		{"nothing given", "", nil, "25s [1m0s 1m0s 0s]", ""},
		{"variables", "", []string{"SHUTDOWN_TIMEOUT=90s", "DIGEST_WINDOW=5m", "SLACK_2_DIGEST_WINDOW=0"}, "1m30s [5m0s 0s 0s]", ""},
		{
			"file", "shutdown_timeout: 2s\ndigest: {window: 0}\nslack:\n- {digest_window: 1h}\n- {name: b}", nil,
			"2s [1h0m0s 0s 0s]", "",
		},
		{"off and on", "", []string{"DIGEST_WINDOW=0", "SLACK_DIGEST_WINDOW=10s"}, "25s [10s 0s 0s]", ""},
		{"short stop", "", []string{"SHUTDOWN_TIMEOUT=0"}, "", `SHUTDOWN_TIMEOUT: "0" is not within 1s and 10m0s`},
		{"long stop", "", []string{"SHUTDOWN_TIMEOUT=1h"}, "", `SHUTDOWN_TIMEOUT: "1h" is not within`},
		{"long window", "", []string{"DIGEST_WINDOW=25h"}, "", `DIGEST_WINDOW: "25h" is not within 1s and 24h0m0s, or 0`},
		{"negative window", "", []string{"SLACK_DIGEST_WINDOW=-1s"}, "", `SLACK_DIGEST_WINDOW: "-1s" is not within`},
		{"no unit", "digest: {window: 60}", nil, "", `digest.window (`},
		{"cannot digest", "", []string{"WEBHOOK_DIGEST_WINDOW=1m"}, "", "WEBHOOK_DIGEST_WINDOW: unknown variable"},
		{"cannot digest in file", "webhook: {digest_window: 1m}", nil, "", "unknown key webhook.digest_window"},
		{"misspelt", "", []string{"DIGEST_WINDOWS=1m"}, "", "DIGEST_WINDOWS: unknown variable, did you mean DIGEST_WINDOW?"},
	} {
		in := Input{Environ: append(on, c.env...), Kinds: all}
		if c.text != "" {
			in.File = write(t, "conf.yaml", c.text)
		}
		got, err := Load(in)
		var windows []time.Duration
		for _, o := range got.Outputs {
			windows = append(windows, o.DigestWindow)
		}
		switch have := fmt.Sprint(got.ShutdownTimeout, " ", windows); {
		case c.err == "" && (err != nil || have != c.want):
			t.Errorf("%s: %s, %v", c.name, have, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}

func TestConcurrency(t *testing.T) {
	kinds := []outputs.Kind{kind("webhook", "webhook", "address", outputs.Setting{Key: "address", Secret: true})}
	for _, c := range []struct {
		name    string
		env     []string
		more    int
		problem string
	}{
		{"default", nil, 0, ""},
		{"ours", []string{"WEBHOOK_CONCURRENCY=8"}, 7, ""},
		{"FalcoSidekick's", []string{"WEBHOOK_MAXCONCURRENTREQUESTS=4"}, 3, ""},
		{"both", []string{"WEBHOOK_MAXCONCURRENTREQUESTS=4", "WEBHOOK_CONCURRENCY=2"}, 1, ""},
		{"FalcoSidekick's, any number", []string{"WEBHOOK_MAXCONCURRENTREQUESTS=1000"}, maxConcurrency - 1, ""},
		{"none", []string{"WEBHOOK_CONCURRENCY=0"}, 0, "WEBHOOK_CONCURRENCY: \"0\" is not a number from 1 to 64"},
		{"no number", []string{"WEBHOOK_MAXCONCURRENTREQUESTS=many"}, 0, "WEBHOOK_MAXCONCURRENTREQUESTS: \"many\" is not a number"},
		{"attempts", []string{"WEBHOOK_MAX_ATTEMPTS=0"}, 0, "WEBHOOK_MAX_ATTEMPTS: \"0\" is not a number from 1 to 1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Load(Input{Environ: append([]string{"WEBHOOK_ADDRESS=https://a"}, c.env...), Kinds: kinds})
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || len(got.Outputs[0].More) != c.more || got.Outputs[0].MaxAttempts != defaultMaxAttempts {
				t.Errorf("%+v, error %v", got.Outputs, err)
			}
		})
	}
}
