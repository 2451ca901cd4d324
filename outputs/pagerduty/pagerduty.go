// Package pagerduty triggers PagerDuty alerts by the Events API v2. It does not
// resolve or acknowledge them, and does not retry.
package pagerduty

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the pagerduty output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "pagerduty",
		Block:   "pagerduty",
		Enabler: "routingkey",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "routingkey", Secret: true, Usage: "integration key of a service or a ruleset; turns the output on"},
			{Key: "region", Default: "us", Usage: "where the account is: us or eu"},
			{Key: "address", Usage: "address to send to instead of the region's, for a relay"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second},
		New:    newOutput,
	}
}

type output struct {
	key    secret.String
	client *httppost.Client
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	key, err := httppost.Key(v, "routingkey", "an integration key")
	if err != nil {
		return nil, err
	}
	address := v.String("address")
	if address == "" {
		if address, err = regional(v.Name("region"), v.String("region")); err != nil {
			return nil, err
		}
	}
	if err := httppost.CheckURL(v.Name("address"), address); err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	return &output{key: secret.New(key), client: httppost.New(httppost.Options{
		Service: "pagerduty",
		URL:     secret.New(address),
		TLS:     config,
		Explain: explainer(secret.New(key)),
	})}, nil
}

// regional is the address of a region
// (https://developer.pagerduty.com/docs/events-api-v2-overview).
func regional(name, region string) (string, error) {
	switch strings.ToLower(region) {
	case "us":
		return "https://events.pagerduty.com/v2/enqueue", nil
	case "eu":
		return "https://events.eu.pagerduty.com/v2/enqueue", nil
	}
	return "", fmt.Errorf("%s: %q is neither us nor eu", name, region)
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, o.post)
}

func (o *output) post(ctx context.Context, e *schema.Event) error {
	t := trigger(e)
	t.RoutingKey = o.key.Reveal()
	body, err := json.Marshal(t)
	if err != nil {
		// encoding/json may show a part of the value, and the key is in it.
		return &outputs.Error{Class: outputs.Permanent, Err: errors.New("encode PagerDuty event: not possible")}
	}
	return o.client.Send(ctx, body)
}

// reason is the form of PagerDuty's own reasons: "Event object is invalid",
// "'routing_key' is missing or blank".
var reason = regexp.MustCompile(`^[A-Za-z0-9_'"(),. -]+$`)

// explainer reads PagerDuty's answer {"status","message","errors"}. What does not
// look like a reason of its own is left out, and so is what repeats the key.
func explainer(key secret.String) func([]byte) (string, time.Duration) {
	return func(body []byte) (string, time.Duration) {
		var answer struct {
			Status  string   `json:"status"`
			Message string   `json:"message"`
			Errors  []string `json:"errors"`
		}
		if json.Unmarshal(body, &answer) != nil {
			return "", 0
		}
		var parts []string
		for _, s := range append([]string{answer.Status, answer.Message}, answer.Errors...) {
			if len(parts) < 4 && len(s) <= 120 && reason.MatchString(s) && !strings.Contains(s, key.Reveal()) {
				parts = append(parts, s)
			}
		}
		return strings.Join(parts, "; "), 0
	}
}
