package config

import (
	"slices"
	"strings"
)

// upstreamBlocks are the outputs and settings blocks of FalcoSidekick (its
// config.go and docs/outputs); those that are also here are recognised first.
func upstreamBlocks() []string {
	return []string{
		"alertmanager", "azure", "cliq", "cloudevents", "datadog", "datadoglogs", "dogstatsd", "dynatrace",
		"elasticsearch", "fission", "gcp", "googlechat", "gotify", "grafana", "grafanaoncall", "influxdb", "kafka",
		"kafkarest", "kubeless", "logstash", "loki", "mattermost", "mqtt", "mutualtlsclient", "n8n", "nats", "nodered",
		"openfaas", "openobserve", "opsgenie", "otlp", "pagerduty", "policyreport", "prometheus", "quickwit", "rabbitmq",
		"redis", "rocketchat", "smtp", "splunk", "spyderbat", "stan", "statsd", "sumologic", "syslog", "talon", "teams",
		"tekton", "telegram", "timescaledb", "tlsclient", "wavefront", "webex", "webui", "yandex",
		"zincsearch", "zoho",
	}
}

// upstreamKeys are single settings of FalcoSidekick, by path. Of AWS_ only these:
// the SDK has variables of its own with that prefix.
func upstreamKeys() []string {
	return []string{
		"bracketreplacer", "customtags", "mutualtlsfilespath", "outputfieldformat", "templatedfields",
		"aws.checkidentity", "aws.kinesis.minimumpriority", "aws.kinesis.streamname", "aws.lambda.functionname",
		"aws.lambda.minimumpriority", "aws.s3.bucket", "aws.s3.endpoint", "aws.s3.minimumpriority", "aws.s3.prefix",
		"aws.securitylake.accountid", "aws.securitylake.bucket", "aws.securitylake.region", "aws.sns.minimumpriority",
		"aws.sns.rawjson", "aws.sns.topicarn", "aws.sqs.minimumpriority", "aws.sqs.url", "aws.usefips",
	}
}

// upstreamCommon are settings that FalcoSidekick has for every output that posts.
func upstreamCommon() []string { return []string{"mutualtls", "checkcert", "maxconcurrentrequests"} }

func isUpstreamKey(path string) bool {
	block, rest, _ := strings.Cut(path, ".")
	if slices.Contains(upstreamBlocks(), block) || slices.Contains(upstreamCommon(), rest) {
		return true
	}
	for _, key := range upstreamKeys() {
		if key == path || strings.HasPrefix(key, path+".") {
			return true
		}
	}
	return false
}

func isUpstreamVariable(name string) bool {
	for _, block := range upstreamBlocks() {
		if strings.HasPrefix(name, variable(block)+"_") {
			return true
		}
	}
	for _, key := range upstreamKeys() {
		if name == variable(key) {
			return true
		}
	}
	_, rest, _ := strings.Cut(name, "_")
	return slices.Contains(upstreamCommon(), strings.ToLower(rest))
}
