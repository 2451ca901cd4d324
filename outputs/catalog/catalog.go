// Package catalog lists every kind of output there is. It holds no settings and
// makes no outputs.
package catalog

import (
	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/cloudwatch"
	"github.com/sidearmor/sidearmor/outputs/discord"
	"github.com/sidearmor/sidearmor/outputs/slack"
	"github.com/sidearmor/sidearmor/outputs/stdout"
	"github.com/sidearmor/sidearmor/outputs/webhook"
)

// Kinds are the kinds of outputs, in the order in which they are shown.
func Kinds() []outputs.Kind {
	return []outputs.Kind{
		slack.Kind(),
		discord.Kind(),
		cloudwatch.Kind(),
		webhook.Kind(),
		stdout.Kind(stdout.Format{Name: "slack", Usage: "the Slack message that would be sent", Render: slack.Preview}),
	}
}
