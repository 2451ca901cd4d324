// Package mattermost delivers events to an incoming webhook of Mattermost. It does not
// retry, and knows nothing of Mattermost's bots.
package mattermost

import (
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/chat"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
)

// Kind is the Mattermost output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "mattermost",
		Block:   "mattermost",
		Enabler: "webhookurl",
		Logs:    false,
		Digests: true,
		Settings: slices.Concat([]outputs.Setting{
			{Key: "webhookurl", Secret: true, Usage: "address of the incoming webhook; turns the output on"},
			{Key: "username", Usage: "name to show instead of the webhook's own, if the server allows it"},
			{Key: "icon", Usage: "address of a picture to show instead of the webhook's own, if the server allows it"},
			{Key: "footer", Usage: "last line of each message"},
		}, chat.StyleSettings(), tlsclient.Settings()),
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second},
		New:    newOutput,
	}
}

// newOutput makes the output; the webhook is described at
// https://developers.mattermost.com/integrate/webhooks/incoming.
func newOutput(v outputs.Values) (outputs.Output, error) {
	return chat.SlackWebhook(v, "mattermost", chat.Backticks("**", chat.Same), nil)
}
