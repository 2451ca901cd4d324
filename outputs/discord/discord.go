// Package discord delivers events to a Discord webhook: Falco events in
// FalcoSidekick's form, KubeArmor events in a layout of their own. It does not
// retry, and knows nothing of Discord's bots.
package discord

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/outputs/internal/wording"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the discord output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "discord",
		Block:   "discord",
		Enabler: "webhookurl",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "webhookurl", Secret: true, Usage: "address of the Discord webhook; turns the output on"},
			// FalcoSidekick's default is its own picture, which must not stand
			// beside messages of this program.
			{Key: "icon", Usage: "address of a picture to show instead of the webhook's own"},
			{Key: "kubearmorformat", Usage: "Go template over a KubeArmor alert or log, instead of the policy's message: .Outcome .Headline .Policy .Namespace .Pod and so on"},
		}, tlsclient.Settings()...),
		Limits:  outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second, Rates: rates()},
		Digests: true,
		New:     newOutput,
	}
}

type output struct {
	icon    string
	wording *wording.Template // of KubeArmor events; nil when there is none
	url     secret.String
	client  *httppost.Client
	pause   atomic.Int64 // a time.Duration, of the last answer
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	raw, name := v.String("webhookurl"), v.Name("webhookurl")
	if err := httppost.CheckURL(name, raw); err != nil {
		return nil, err
	}
	address, err := waiting(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: not an http or https address", name)
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	var words *wording.Template
	if text := v.String("kubearmorformat"); text != "" {
		if words, err = wording.Parse(text); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name("kubearmorformat"), err)
		}
	}
	o := &output{icon: v.String("icon"), wording: words, url: secret.New(address)}
	o.client = httppost.New(httppost.Options{
		Service: "discord", URL: o.url, TLS: config, Explain: explain, Answered: o.answered,
	})
	return o, nil
}

// waiting asks Discord to answer only once the message is stored. Without it
// the answer is 204 also for a message that is then not.
// (https://docs.discord.com/developers/resources/webhook#execute-webhook)
func waiting(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("wait", "true")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, o.post)
}

func (o *output) post(ctx context.Context, e *schema.Event) error {
	return o.send(ctx, o.message(e))
}

// explain reads Discord's answer: a code and a message of its own, and with
// 429 the wait in seconds. The message is taken over only with the code, which
// a proxy's page does not have, and only while it holds no address.
func explain(body []byte) (string, time.Duration) {
	var answer struct {
		Code       int     `json:"code"`
		Message    string  `json:"message"`
		RetryAfter float64 `json:"retry_after"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return "", 0
	}
	wait := httppost.Seconds(answer.RetryAfter)
	if answer.Code == 0 {
		return "", wait
	}
	if strings.Contains(answer.Message, "/") {
		return fmt.Sprintf("code %d", answer.Code), wait
	}
	return fmt.Sprintf("code %d, %s", answer.Code, clip.Line(answer.Message, 200, nil)), wait
}
