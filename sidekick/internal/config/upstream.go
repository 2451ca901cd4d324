package config

import (
	"slices"
	"strings"
)

// upstreamBlocks are the outputs and settings blocks of FalcoSidekick (its
// config.go and docs/outputs) that are not here.
func upstreamBlocks() []string {
	return []string{
		"azure", "cliq", "cloudevents", "datadoglogs", "dogstatsd", "dynatrace", "fission", "gcp", "gotify",
		"grafana", "grafanaoncall", "influxdb", "kafkarest", "kubeless", "logstash", "mqtt", "n8n",
		"nodered", "openfaas", "openobserve", "otlp.metrics", "otlp.traces", "policyreport", "quickwit",
		"rabbitmq", "redis", "spyderbat", "stan", "statsd", "sumologic", "talon", "tekton", "timescaledb",
		"wavefront", "webex", "webui", "yandex", "zincsearch", "zoho",
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
		"aws.checkidentity", "aws.lambda.logtype", "aws.securitylake.accountid", "aws.securitylake.batchsize",
		"aws.securitylake.bucket", "aws.securitylake.interval", "aws.securitylake.minimumpriority",
		"aws.securitylake.prefix", "aws.securitylake.region", "aws.usefips",
	}
}

// upstreamCommon are settings that FalcoSidekick has for every output that posts.
func upstreamCommon() []string { return []string{"mutualtls", "checkcert", "maxconcurrentrequests"} }

func isUpstreamKey(path string) bool {
	// FalcoSidekick's example has "securitylake.:".
	path = strings.TrimSuffix(strings.ReplaceAll(path, "..", "."), ".")
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

// sdkVariables are those of AWS' SDKs, and of Lambda's runtime, that begin like an
// output's.
func sdkVariables() []string {
	return []string{
		"AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
		"AWS_S3_USE_ARN_REGION", "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
		"AWS_LAMBDA_EXEC_WRAPPER", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME",
		"AWS_LAMBDA_FUNCTION_TIMEOUT", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
		"AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_LEVEL", "AWS_LAMBDA_LOG_STREAM_NAME",
		"AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN", "AWS_LAMBDA_RUNTIME_API",
	}
}

// familiarVariables are settings of widely used programs that are nearly ours, by the
// setting that each is near to. Who has such a program may not mean the sidekick.
func familiarVariables() map[string]string {
	return map[string]string{
		"AWS_EVENTBRIDGE_BUS_NAME":   "AWS_EVENTBRIDGE_BUSNAME",
		"AWS_FIREHOSE_STREAM_NAME":   "AWS_FIREHOSE_STREAMNAME",
		"AWS_KINESIS_STREAM_NAME":    "AWS_KINESIS_STREAMNAME",
		"AWS_SECURITYHUB_ACCOUNT_ID": "AWS_SECURITYHUB_ACCOUNTID",
		"AWS_SNS_TOPIC_ARN":          "AWS_SNS_TOPICARN",
		"AWS_SQS_QUEUE_URL":          "AWS_SQS_URL", // which would also be an output called "queue"
		"DATADOG_API_KEY":            "DATADOG_APIKEY",
		"DATADOG_APP_KEY":            "DATADOG_APIKEY",
		"OPSGENIE_API_KEY":           "OPSGENIE_APIKEY",
		"SPLUNK_HEC_HOST":            "SPLUNK_HOST", // an output called "hec"
		"TELEGRAM_CHAT_ID":           "TELEGRAM_CHATID",
	}
}
