package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/catalog"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
)

// A variable that begins like one of an output that is here, and is none, is
// refused, whatever FalcoSidekick has besides.
func TestMisspeltVariables(t *testing.T) {
	load := func(name string) (warnings, problem string) {
		c, err := config.Load(config.Input{Environ: []string{name + "=x"}, Kinds: catalog.Kinds()})
		if err != nil {
			problem = err.Error()
		}
		return strings.Join(c.Warnings, "; "), problem
	}
	for _, k := range catalog.Kinds() {
		enabler := strings.ToUpper(strings.ReplaceAll(k.Block+"_"+k.Enabler, ".", "_"))
		misspelt := enabler[:len(enabler)-1]
		if warnings, problem := load(misspelt); !strings.Contains(problem, misspelt+": unknown variable, did you mean "+enabler) {
			t.Errorf("%s: %q, warnings %q", misspelt, problem, warnings)
		}
	}
	for name, warns := range map[string]bool{
		"ELASTICSEARCH_FLATTENFIELDS": true, "ELASTICSEARCH_BATCHING_ENABLED": true, "KAFKA_ASYNC": true, "KAFKAREST_ADDRESS": true,
		"OTLP_TRACES_ENDPOINT": true, "OTLP_METRICS_ENDPOINT": true, "AWS_SECURITYLAKE_BUCKET": true, "DATADOGLOGS_APIKEY": true, "LOKI_MAXCONCURRENTREQUESTS": true,
		"AWS_S3_USE_ARN_REGION": false, "AWS_REGION": false, "MAX_LENGTH": false,
	} {
		if warnings, problem := load(name); problem != "" || warns != strings.Contains(warnings, name) {
			t.Errorf("%s: %q, warnings %q", name, problem, warnings)
		}
	}
	if _, problem := load("MUTUALTLSCLIENT_CERTFIL"); !strings.Contains(problem, "did you mean MUTUALTLSCLIENT_CERTFILE?") {
		t.Error(problem)
	}
}

// Every setting of every output that is on is missed by its name, those with names
// that FalcoSidekick has too.
func TestMisspeltSettings(t *testing.T) {
	for _, k := range catalog.Kinds() {
		prefix := strings.ToUpper(strings.ReplaceAll(k.Block, ".", "_")) + "_"
		for _, s := range k.Settings {
			if s.Block != "" || s.Key == k.Enabler {
				continue
			}
			name := prefix + strings.ToUpper(cmp.Or(s.Name, s.Key))
			misspelt := name[:len(name)-1]
			_, err := config.Load(config.Input{Environ: []string{prefix + strings.ToUpper(k.Enabler) + "=x", misspelt + "=x"}, Kinds: catalog.Kinds()})
			if err == nil || !strings.Contains(err.Error(), misspelt+": unknown variable, did you mean "+prefix) {
				t.Errorf("%s: %v", misspelt, err)
			}
		}
	}
}

// Programs that share the environment have settings that begin like those of outputs:
// they turn none on and stop nothing, whether another output is on or none.
func TestVariablesOfOtherPrograms(t *testing.T) {
	for _, name := range []string{
		"SMTP_HOST", "SMTP_PORT", "SMTP_USERNAME", "SMTP_PASS", "SMTP_SECURE", "SMTP_SSL", "SMTP_AUTH", "SMTP_SENDER", "SMTP_FROM_EMAIL",
		"DD_API_KEY", "DD_AGENT_HOST", "DD_SITE", "DATADOG_API_KEY", "DATADOG_APP_KEY", "DATADOG_SITE", "DATADOG_TAGS",
		"TELEGRAM_BOT_TOKEN", "TELEGRAM_TOKEN", "TELEGRAM_CHAT_ID", "TELEGRAM_CHAT", "TELEGRAM_API_ID", "TELEGRAM_API_HASH",
		"SPLUNK_HOME", "SPLUNK_HEC_HOST", "SPLUNK_HEC_TOKEN", "SPLUNK_URL", "SPLUNK_TOKEN", "OPSGENIE_API_KEY", "OPSGENIE_KEY", "FLUENT_HOST", "FLUENTD_CONF",
		"FLUENT_UDS_PATH", "MATTERMOST_TOKEN", "MATTERMOST_URL", "ROCKETCHAT_URL", "ROCKETCHAT_USER", "GOOGLECHAT_SPACE",
		"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_PROFILE",
		"AWS_SQS_QUEUE_URL", "AWS_SNS_TOPIC", "AWS_SNS_TOPIC_ARN", "AWS_KINESIS_STREAM_NAME", "AWS_FIREHOSE_STREAM_NAME", "AWS_EVENTBRIDGE_BUS_NAME", "AWS_SECURITYHUB_ACCOUNT_ID", "AWS_KINESIS_STREAM", "AWS_EVENTBRIDGE_BUS", "AWS_ENDPOINT_URL",
	} {
		// An address, so that nothing else keeps it from being one of ours.
		for _, on := range []string{"STDOUT_ENABLED=true", "STDOUT_ENABLED=false"} {
			c, err := config.Load(config.Input{Environ: []string{name + "=https://sqs.eu-central-1.amazonaws.com/123456789012/q", on}, Kinds: catalog.Kinds()})
			if err != nil || (len(c.Outputs) == 1) != (on == "STDOUT_ENABLED=true") || len(c.Outputs) > 1 {
				t.Errorf("%s, %s: %d outputs, %v", name, on, len(c.Outputs), err)
			}
		}
	}
	together := []string{"TELEGRAM_TOKEN=x", "TELEGRAM_CHAT_ID=1", "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_INVOCATIONTYPE=Event"}
	c, err := config.Load(config.Input{Environ: together, Kinds: catalog.Kinds()})
	said := strings.Join(c.Warnings, "\n")
	if err != nil || len(c.Outputs) != 0 || !strings.Contains(said, "TELEGRAM_CHAT_ID has no effect: other programs use it; the setting of the sidekick is TELEGRAM_CHATID") ||
		strings.Contains(said, "AWS_LAMBDA_FUNCTION_NAME") {
		t.Errorf("%q, %v", said, err)
	}
}

// What FalcoSidekick's chart and its example set unless they are told otherwise stops
// nothing, with whatever output.
func TestChartsDefaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "falcosidekick.yaml")
	text := "tlsclient: {cacertfile: /etc/certs/client/ca.crt}\nmutualtlsclient: {certfile: /etc/certs/client/client.crt}\n" +
		"aws:\n  securitylake.:\n    interval: 5\n    batchsize: 1000\nslack: {webhookurl: \"https://hooks.slack.com/services/a/b/c\"}\nwebhook: {address: \"http://w.example/\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, in := range []config.Input{
		{File: file},
		{Environ: []string{
			"TLSCLIENT_CACERTFILE=/etc/certs/client/ca.crt", "MUTUALTLSFILESPATH=/etc/certs", "TLSSERVER_DEPLOY=false",
			"TLSSERVER_CERTFILE=/etc/certs/server/server.crt", "SLACK_WEBHOOKURL=https://hooks.slack.com/services/a/b/c", "WEBHOOK_ADDRESS=http://w.example/",
			"SLACK_OUTPUTFORMAT=all", "WEBHOOK_CHECKCERT=true", "AWS_SECURITYLAKE_INTERVAL=5",
		}},
	} {
		in.Kinds = catalog.Kinds()
		c, err := config.Load(in)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Outputs) != 2 || strings.Count(strings.Join(c.Warnings, "\n"), "there is no /etc/certs/client/ca.crt") != 1 {
			t.Errorf("%d outputs, warnings %q", len(c.Outputs), c.Warnings)
		}
		if err := closeOutputs(c.Outputs); err != nil {
			t.Error(err)
		}
	}
	_, err := config.Load(config.Input{Kinds: catalog.Kinds(), Environ: []string{"TLSCLIENT_CACERTFILE=/etc/certs/client/other.crt", "WEBHOOK_ADDRESS=http://w.example/"}})
	if err == nil || !strings.Contains(err.Error(), "TLSCLIENT_CACERTFILE") {
		t.Errorf("another file that is not there: %v", err)
	}
}
