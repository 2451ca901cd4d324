// Package telegram delivers events to a chat by a bot of Telegram. It does not retry,
// and reads nothing that is said in the chat.
package telegram

import (
	"encoding/json"
	"fmt"
	"html"
	"regexp"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/chat"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the Telegram output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "telegram",
		Block:   "telegram",
		Enabler: "chatid",
		Logs:    false,
		Digests: true,
		Settings: append([]outputs.Setting{
			{Key: "chatid", Usage: "id of the chat, or @name of a public channel; turns the output on"},
			{Key: "token", Secret: true, Usage: "token of the bot"},
			{Key: "messagethreadid", Name: "message_thread_id", Usage: "number of a topic of the group"},
			{Key: "address", Default: "https://api.telegram.org", Usage: "address of the Bot API, for a server of one's own"},
		}, tlsclient.Settings()...),
		// A group takes 20 messages a minute, a chat one a second
		// (https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this).
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second, Rates: []outputs.Rate{
			{Messages: 1, Per: time.Second}, {Messages: 20, Per: time.Minute},
		}},
		New: newOutput,
	}
}

var (
	chatID   = regexp.MustCompile(`^(-?[0-9]+|@[A-Za-z0-9_]+)$`)
	botToken = regexp.MustCompile(`^[A-Za-z0-9:_-]+$`)
	threadID = regexp.MustCompile(`^[0-9]*$`)
)

// message is the body of sendMessage (https://core.telegram.org/bots/api#sendmessage).
type message struct {
	ChatID    string      `json:"chat_id"`
	ThreadID  json.Number `json:"message_thread_id,omitempty"`
	Text      string      `json:"text"`
	ParseMode string      `json:"parse_mode"`
	Preview   preview     `json:"link_preview_options"`
}

type preview struct {
	Disabled bool `json:"is_disabled"`
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	id, token, thread := v.String("chatid"), strings.TrimSpace(v.String("token")), v.String("messagethreadid")
	switch {
	case !chatID.MatchString(id):
		return nil, fmt.Errorf("%s: %q is neither a number nor @name", v.Name("chatid"), id)
	case !botToken.MatchString(token):
		return nil, fmt.Errorf("%s: not a token", v.Name("token"))
	case !threadID.MatchString(thread):
		return nil, fmt.Errorf("%s: %q is not a number", v.Name("messagethreadid"), thread)
	}
	base := strings.TrimRight(v.String("address"), "/")
	if err := httppost.CheckURL(v.Name("address"), base); err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	return &chat.Output{
		Client: httppost.New(httppost.Options{
			Service: "telegram", URL: secret.New(base + "/bot" + token + "/sendMessage"), TLS: config,
			Class: classOf, Explain: explain,
		}),
		Markup: chat.Markup{Bold: bold, Code: code},
		Message: func(text string) any {
			return message{ChatID: id, ThreadID: json.Number(thread), Text: text, ParseMode: "HTML", Preview: preview{true}}
		},
	}, nil
}

func bold(ours string) string { return "<b>" + ours + "</b>" }

// code is where Telegram looks for no links, mentions, hashtags or commands.
func code(foreign string, limit int) string {
	// The limit is on what is shown, after the escapes.
	return "<code>" + html.EscapeString(clip.Line(foreign, limit, nil)) + "</code>"
}

// answer is what the Bot API says (https://core.telegram.org/bots/api#making-requests).
type answer struct {
	Description string `json:"description"`
	Parameters  struct {
		RetryAfter float64 `json:"retry_after"`
	} `json:"parameters"`
}

// wrongChat is how the API complains of a chat with a 400: it is put right, by a
// setting or by who invites the bot.
var wrongChat = regexp.MustCompile(`(?i)chat not found|chat_id|thread not found|upgraded to a supergroup|not enough rights|topic`)

func classOf(body []byte, byStatus outputs.Class) outputs.Class {
	var a answer
	if json.Unmarshal(body, &a) == nil && wrongChat.MatchString(a.Description) {
		return outputs.Transient
	}
	return byStatus
}

// reason is the form of the API's own: it may repeat what was sent in quotes.
var reason = regexp.MustCompile(`^[A-Z][A-Za-z]+( [A-Za-z]+)?: [A-Za-z_ ]+`)

func explain(body []byte) (string, time.Duration) {
	var a answer
	if json.Unmarshal(body, &a) != nil {
		return "", 0
	}
	return clip.Line(reason.FindString(a.Description), 100, nil), httppost.Seconds(a.Parameters.RetryAfter)
}
