// Package teams delivers events to a Microsoft Teams webhook as Adaptive Cards:
// Falco events with FalcoSidekick's content, KubeArmor events in a layout of
// their own. It does not retry, and knows nothing of bots or of Graph.
package teams

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the teams output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "teams",
		Block:   "teams",
		Enabler: "webhookurl",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "webhookurl", Secret: true, Usage: "address of the Teams webhook or workflow; turns the output on"},
			// FalcoSidekick's default is its own picture, which must not stand
			// beside messages of this program.
			{Key: "activityimage", Usage: "address of a picture to show at the head of each card"},
			{Key: "outputformat", Default: formatAll, Usage: "what a card has: all, text or facts"},
		}, tlsclient.Settings()...),
		// One card for each event: Teams takes four messages a second.
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second},
		New:    newOutput,
	}
}

// Values of outputformat.
const (
	formatAll   = "all"
	formatText  = "text"
	formatFacts = "facts"
)

type output struct {
	style
	client *httppost.Client
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	if err := httppost.CheckURL(v.Name("webhookurl"), v.String("webhookurl")); err != nil {
		return nil, err
	}
	s := style{format: v.String("outputformat"), image: v.String("activityimage")}
	switch s.format {
	case formatAll, formatText, formatFacts:
	default:
		return nil, fmt.Errorf("%s: %q is none of all, text, facts", v.Name("outputformat"), s.format)
	}
	if s.image != "" {
		if err := httppost.CheckURL(v.Name("activityimage"), s.image); err != nil {
			return nil, err
		}
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	return &output{style: s, client: httppost.New(httppost.Options{
		Service: "teams",
		URL:     secret.New(v.String("webhookurl")),
		TLS:     config,
		Refusal: refusal,
	})}, nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, o.post)
}

func (o *output) post(ctx context.Context, e *schema.Event) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // six bytes for one would cost a fifth of the limit
	if err := enc.Encode(o.message(e)); err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode Teams message: %w", err)}
	}
	return o.client.Send(ctx, b.Bytes())
}

var (
	failed   = regexp.MustCompile(`(?i)\bdelivery failed\b`)
	endpoint = regexp.MustCompile(`HTTP error ([1-5][0-9]{2})\b`)
)

// refusal finds the error in a 200: webhooks of connectors answer "1", or what
// became of the message when Teams itself did not take it ("Webhook message
// delivery failed with error: Microsoft Teams endpoint returned HTTP error 429
// with ContextId …"). Workflows answer 202 and nothing.
func refusal(body []byte) error {
	m := endpoint.FindSubmatch(body)
	if m == nil {
		if !failed.Match(body) {
			return nil
		}
		return &outputs.Error{Class: outputs.Transient, Err: errors.New("teams answered 200 with: delivery failed")}
	}
	status, _ := strconv.Atoi(string(m[1])) // three digits
	class, ok := httppost.Judge(status)
	if ok {
		return nil
	}
	return &outputs.Error{Class: class, Err: fmt.Errorf("teams answered 200 with: HTTP error %d", status)}
}
