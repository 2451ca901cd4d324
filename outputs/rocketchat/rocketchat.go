// Package rocketchat delivers events to an incoming webhook of Rocket.Chat. It does
// not retry.
package rocketchat

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/chat"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
)

// Kind is the Rocket.Chat output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "rocketchat",
		Block:   "rocketchat",
		Enabler: "webhookurl",
		Logs:    false,
		Digests: true,
		Settings: slices.Concat([]outputs.Setting{
			{Key: "webhookurl", Secret: true, Usage: "address of the incoming webhook; turns the output on"},
			{Key: "username", Usage: "name to show instead of the webhook's own"},
			{Key: "icon", Usage: "address of a picture to show instead of the webhook's own"},
			{Key: "footer", Usage: "last line of each message"},
		}, chat.StyleSettings(), tlsclient.Settings()),
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second},
		New:    newOutput,
	}
}

// message is the body of a webhook call
// (https://docs.rocket.chat/docs/integrations).
type message struct {
	Text     string `json:"text"`
	Username string `json:"username,omitempty"`
	IconURL  string `json:"icon_url,omitempty"`
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	client, err := chat.Webhook(v, "rocket.chat", refusal)
	if err != nil {
		return nil, err
	}
	style, err := chat.NewStyle(v, v.String("footer"))
	if err != nil {
		return nil, err
	}
	name, icon := v.String("username"), v.String("icon")
	return &chat.Output{
		Client: client, Style: style, Markup: chat.Backticks("*", escape),
		Message: func(text string) any { return message{text, name, icon} },
	}, nil
}

// escape breaks mentions of people and channels, which servers also find in code.
func escape(r rune) string {
	switch r {
	case '@':
		return "＠"
	case '#':
		return "＃"
	}
	return string(r)
}

// refusal finds the error in a 200: a script of the webhook's can give one.
func refusal(body []byte) error {
	var answer struct {
		Success *bool `json:"success"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Success != nil && !*answer.Success {
		return &outputs.Error{Class: outputs.Permanent, Err: errors.New("rocket.chat answered 200 with success false")}
	}
	return nil
}
