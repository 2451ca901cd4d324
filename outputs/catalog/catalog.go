// Package catalog lists every kind of output there is. It holds no settings and
// makes no outputs.
package catalog

import (
	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/alertmanager"
	"github.com/sidearmor/sidearmor/outputs/cloudwatch"
	"github.com/sidearmor/sidearmor/outputs/datadog"
	"github.com/sidearmor/sidearmor/outputs/discord"
	"github.com/sidearmor/sidearmor/outputs/elasticsearch"
	"github.com/sidearmor/sidearmor/outputs/eventbridge"
	"github.com/sidearmor/sidearmor/outputs/falcosidekick"
	"github.com/sidearmor/sidearmor/outputs/firehose"
	"github.com/sidearmor/sidearmor/outputs/fluent"
	"github.com/sidearmor/sidearmor/outputs/googlechat"
	"github.com/sidearmor/sidearmor/outputs/kafka"
	"github.com/sidearmor/sidearmor/outputs/kinesis"
	"github.com/sidearmor/sidearmor/outputs/lambda"
	"github.com/sidearmor/sidearmor/outputs/loki"
	"github.com/sidearmor/sidearmor/outputs/mattermost"
	"github.com/sidearmor/sidearmor/outputs/nats"
	"github.com/sidearmor/sidearmor/outputs/opsgenie"
	"github.com/sidearmor/sidearmor/outputs/otlp"
	"github.com/sidearmor/sidearmor/outputs/pagerduty"
	"github.com/sidearmor/sidearmor/outputs/rocketchat"
	"github.com/sidearmor/sidearmor/outputs/s3"
	"github.com/sidearmor/sidearmor/outputs/securityhub"
	"github.com/sidearmor/sidearmor/outputs/slack"
	"github.com/sidearmor/sidearmor/outputs/sns"
	"github.com/sidearmor/sidearmor/outputs/splunk"
	"github.com/sidearmor/sidearmor/outputs/sqs"
	"github.com/sidearmor/sidearmor/outputs/stdout"
	"github.com/sidearmor/sidearmor/outputs/syslog"
	"github.com/sidearmor/sidearmor/outputs/teams"
	"github.com/sidearmor/sidearmor/outputs/telegram"
	"github.com/sidearmor/sidearmor/outputs/webhook"
)

// Kinds are the kinds of outputs, in the order in which they are shown.
func Kinds() []outputs.Kind {
	return []outputs.Kind{
		slack.Kind(),
		discord.Kind(),
		teams.Kind(),
		mattermost.Kind(),
		rocketchat.Kind(),
		googlechat.Kind(),
		telegram.Kind(),
		pagerduty.Kind(),
		opsgenie.Kind(),
		alertmanager.Kind(),
		cloudwatch.Kind(),
		webhook.Kind(),
		falcosidekick.Kind(),
		syslog.Kind(),
		kafka.Kind(),
		nats.Kind(),
		s3.Kind(),
		sqs.Kind(),
		sns.Kind(),
		kinesis.Kind(),
		firehose.Kind(),
		eventbridge.Kind(),
		lambda.Kind(),
		securityhub.Kind(),
		loki.Kind(),
		elasticsearch.Kind(),
		splunk.Kind(),
		datadog.Kind(),
		fluent.Kind(),
		otlp.Kind(),
		stdout.Kind(stdout.Format{Name: "slack", Usage: "the Slack message that would be sent", Render: slack.Preview}),
	}
}
