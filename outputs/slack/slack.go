// Package slack delivers events to a Slack incoming webhook: Falco events in
// FalcoSidekick's form, KubeArmor events in a layout of their own. It does not
// retry, and knows nothing of Slack's Web API.
package slack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/slack-go/slack"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/markup"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/outputs/internal/wording"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Defaults. FalcoSidekick's are its own name, repository and picture; a message
// of this program must not claim to be from that one. Without an icon Slack
// shows the one of the webhook.
const (
	defaultUsername = "SideArmor"
	defaultFooter   = "https://github.com/sidearmor/sidearmor"
)

// Kind is the slack output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "slack",
		Block:   "slack",
		Enabler: "webhookurl",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "webhookurl", Secret: true, Usage: "address of the Slack incoming webhook; turns the output on"},
			{Key: "channel", Usage: "channel to post to instead of the webhook's own (old webhooks only)"},
			{Key: "footer", Default: defaultFooter, Usage: "text below each message"},
			{Key: "icon", Usage: "address of a picture to show instead of the webhook's own"},
			{Key: "username", Default: defaultUsername, Usage: "name to post under"},
			{Key: "outputformat", Default: formatAll, Usage: "what a message has: all, text or fields"},
			{Key: "messageformat", Usage: "Go template over a Falco event, shown above its message: .Output .Priority .Rule .Time .Source .Tags .Hostname .UUID, index .OutputFields \"key\""},
			{Key: "kubearmorformat", Usage: "Go template over a KubeArmor alert or log, shown above its message: .Outcome .Headline .Policy .Namespace .Pod and so on"},
		}, tlsclient.Settings()...),
		// One message for each event: Slack takes about one a second, and a
		// reader one at a time.
		// (https://docs.slack.dev/apis/web-api/rate-limits)
		Limits:  outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second, Rates: []outputs.Rate{{Messages: 1, Per: time.Second}}},
		Digests: true,
		New:     newOutput,
	}
}

// Values of outputformat.
const (
	formatAll    = "all"
	formatText   = "text"
	formatFields = "fields"
)

// style is how messages look; the zero value is not useful.
type style struct {
	channel, footer, icon, username string
	format                          string
	template                        *markup.Template  // of Falco events; nil when there is none
	wording                         *wording.Template // of KubeArmor events; nil when there is none
}

type output struct {
	style
	url    secret.String
	client *httppost.Client
}

// Account implements outputs.Metered: Slack counts by webhook.
func (o *output) Account() [sha256.Size]byte { return sha256.Sum256([]byte(o.url.Reveal())) }

func newOutput(v outputs.Values) (outputs.Output, error) {
	if err := httppost.CheckURL(v.Name("webhookurl"), v.String("webhookurl")); err != nil {
		return nil, err
	}
	s := style{
		channel:  v.String("channel"),
		footer:   v.String("footer"),
		icon:     v.String("icon"),
		username: v.String("username"),
		format:   v.String("outputformat"),
	}
	switch s.format {
	case formatAll, formatText, formatFields:
	default:
		return nil, fmt.Errorf("%s: %q is none of all, text, fields", v.Name("outputformat"), s.format)
	}
	if text := v.String("messageformat"); text != "" {
		t, err := parseTemplate(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name("messageformat"), err)
		}
		s.template = t
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	if text := v.String("kubearmorformat"); text != "" {
		t, err := wording.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name("kubearmorformat"), err)
		}
		s.wording = t
	}
	url := secret.New(v.String("webhookurl"))
	return &output{
		style:  s,
		url:    url,
		client: httppost.New(httppost.Options{Service: "slack", URL: url, TLS: config, Explain: explain, Refusal: refusal}),
	}, nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, o.post)
}

// post sends a Falco event as the bytes that FalcoSidekick would send, which
// the library's types cannot express, and a KubeArmor event by the library.
func (o *output) post(ctx context.Context, e *schema.Event) error {
	if e.Kind == schema.KindFalco {
		body, err := o.falcoBody(e.Falco)
		if err != nil {
			return &outputs.Error{Class: outputs.Permanent, Err: err}
		}
		return o.client.Send(ctx, body)
	}
	return o.webhook(ctx, o.message(e))
}

func (o *output) webhook(ctx context.Context, message *slack.WebhookMessage) error {
	return o.client.Do(func(client *http.Client) error {
		return slack.PostWebhookCustomHTTPContext(ctx, o.url.Reveal(), client, message)
	})
}

func (s *style) falcoBody(f *schema.FalcoEvent) ([]byte, error) {
	if f == nil {
		return nil, errors.New("a Falco event without content")
	}
	body, err := json.Marshal(s.falcoMessage(f))
	if err != nil {
		return nil, fmt.Errorf("encode Slack message: %w", err)
	}
	return append(body, '\n'), nil
}

// reason is the form of Slack's own reasons: no_service, invalid_blocks.
var reason = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)

// explain takes over a reason only where it has that form, since a proxy's
// error page may repeat the address.
func explain(body []byte) (string, time.Duration) {
	if len(body) > 64 || !reason.Match(body) {
		return "", 0
	}
	return string(body), 0
}

// refusal finds a reason in a 200, which some ways to Slack give one in. Anything
// else is a success: services that take Slack's messages have answers of their own.
func refusal(body []byte) error {
	if refused, why := notOK(body); refused { // of Slack's API, or of what speaks as it does
		return &outputs.Error{Class: outputs.Transient, Err: fmt.Errorf("slack answered 200 with ok false: %s", why)}
	}
	why, _ := explain(bytes.TrimSpace(body))
	if why == "" {
		return nil
	}
	class := outputs.Permanent
	switch why {
	case "internal_error", "fatal_error", "rollup_error", "service_unavailable", "request_timeout":
		class = outputs.Transient
	case "no_service", "no_service_id", "no_active_hooks", "no_team", "team_disabled", "invalid_token", "token_revoked",
		"action_prohibited", "posting_to_general_channel_denied", "channel_not_found", "channel_is_archived", "user_not_found":
		class = outputs.Transient // the webhook is revoked, or its channel gone: the message is not at fault
	case "rate_limited":
		class = outputs.RateLimited
	}
	return &outputs.Error{Class: class, Err: fmt.Errorf("slack answered 200 with: %s", why)}
}

// notOK reads {"ok":false,"error":"invalid_auth"}.
func notOK(body []byte) (refused bool, why string) {
	var answer struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.OK == nil || *answer.OK {
		return false, ""
	}
	if why, _ = explain([]byte(answer.Error)); why == "" {
		why = "no reason that can be shown"
	}
	return true, why
}
