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

// newOutput makes the output; the webhook is described at
// https://docs.rocket.chat/docs/integrations.
func newOutput(v outputs.Values) (outputs.Output, error) {
	return chat.SlackWebhook(v, "rocket.chat", chat.Backticks("*", escape), refusal)
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
