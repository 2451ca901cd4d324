// Package googlechat delivers events to a webhook of a Google Chat space. It does not
// retry, and makes no threads.
package googlechat

import (
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/chat"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
)

// Kind is the Google Chat output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "googlechat",
		Block:   "googlechat",
		Enabler: "webhookurl",
		Logs:    false,
		Digests: true,
		Settings: slices.Concat([]outputs.Setting{
			{Key: "webhookurl", Secret: true, Usage: "address of the space's webhook; turns the output on"},
		}, chat.StyleSettings(), tlsclient.Settings()),
		// A space takes one message a second
		// (https://developers.google.com/workspace/chat/limits).
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second, Rates: []outputs.Rate{{Messages: 1, Per: time.Second}}},
		New:    newOutput,
	}
}

// message is the body of a webhook call
// (https://developers.google.com/workspace/chat/quickstart/webhooks).
type message struct {
	Text string `json:"text"`
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	client, err := chat.Webhook(v, "google chat", nil)
	if err != nil {
		return nil, err
	}
	style, err := chat.NewStyle(v, "")
	if err != nil {
		return nil, err
	}
	return &chat.Output{
		Client: client, Style: style, Markup: chat.Backticks("*", escape),
		Message: func(text string) any { return message{text} },
	}, nil
}

// escape breaks what stands between angle brackets, links and mentions such as
// <users/all>: the service reads them before it looks for code.
func escape(r rune) string {
	switch r {
	case '<':
		return "‹"
	case '>':
		return "›"
	}
	return string(r)
}
