package config

import (
	"slices"
	"strings"
)

// upstreamBlocks are the outputs and settings blocks of FalcoSidekick (its
// config.go and docs/outputs) that are not here.
func upstreamBlocks() []string {
	return []string{
		"azure", "cliq", "cloudevents", "datadog", "datadoglogs", "dogstatsd", "dynatrace",
		"fission", "gcp", "googlechat", "gotify", "grafana", "grafanaoncall", "influxdb",
		"kafkarest", "kubeless", "logstash", "mattermost", "mqtt", "n8n", "nodered",
		"openfaas", "openobserve", "opsgenie", "otlp.metrics", "otlp.traces", "policyreport", "quickwit", "rabbitmq",
		"redis", "rocketchat", "smtp", "splunk", "spyderbat", "stan", "statsd", "sumologic", "talon",
		"tekton", "telegram", "timescaledb", "wavefront", "webex", "webui", "yandex",
		"zincsearch", "zoho",
	}
}

// upstreamKeys are single settings of FalcoSidekick that are not here, by path. Of
// AWS_ only these: the SDK has variables of its own with that prefix.
func upstreamKeys() []string {
	return []string{
		"elasticsearch.batching", "elasticsearch.createindextemplate", "elasticsearch.flattenfields",
		"elasticsearch.numberofreplicas", "elasticsearch.numberofshards", "elasticsearch.type",
		"otlp.logs.duration", "otlp.logs.extraenvvars", "otlp.logs.synced", "otlp.logs.timeout", "otlp.logs.tls",
		"kafka.async", "kafka.balancer", "nats.clientid", "nats.clusterid",
		"aws.checkidentity", "aws.kinesis.minimumpriority", "aws.kinesis.streamname", "aws.lambda.functionname",
		"aws.lambda.minimumpriority",
		"aws.securitylake.accountid", "aws.securitylake.bucket", "aws.securitylake.region", "aws.sns.minimumpriority",
		"aws.sns.rawjson", "aws.sns.topicarn", "aws.sqs.minimumpriority", "aws.sqs.url", "aws.usefips",
	}
}

// upstreamCommon are settings that FalcoSidekick has for every output that posts.
func upstreamCommon() []string { return []string{"mutualtls", "checkcert", "maxconcurrentrequests"} }

func isUpstreamKey(path string) bool {
	_, rest, _ := strings.Cut(path, ".")
	if slices.Contains(upstreamCommon(), rest) {
		return true
	}
	for _, key := range slices.Concat(upstreamBlocks(), upstreamKeys()) {
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
		if name == variable(key) || strings.HasPrefix(name, variable(key)+"_") && strings.Contains(key, ".batching") {
			return true
		}
	}
	_, rest, _ := strings.Cut(name, "_")
	return slices.Contains(upstreamCommon(), strings.ToLower(rest))
}
