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

// message is the body of a webhook call
// (https://developers.mattermost.com/integrate/webhooks/incoming).
type message struct {
	Text     string `json:"text"`
	Username string `json:"username,omitempty"`
	IconURL  string `json:"icon_url,omitempty"`
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	client, err := chat.Webhook(v, "mattermost", nil)
	if err != nil {
		return nil, err
	}
	style, err := chat.NewStyle(v, v.String("footer"))
	if err != nil {
		return nil, err
	}
	name, icon := v.String("username"), v.String("icon")
	return &chat.Output{
		Client: client, Style: style, Markup: chat.Backticks("**", chat.Same),
		Message: func(text string) any { return message{text, name, icon} },
	}, nil
}
