// Package opsgenie creates Opsgenie alerts. It does not acknowledge or close them, and
// does not retry.
package opsgenie

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the Opsgenie output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "opsgenie",
		Block:   "opsgenie",
		Enabler: "apikey",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "apikey", Secret: true, Usage: "key of an API integration; turns the output on"},
			{Key: "region", Default: "us", Usage: "where the account is: us or eu"},
			{Key: "address", Usage: "address to send to instead of the region's, for a relay"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second},
		New:    newOutput,
	}
}

type output struct{ client *httppost.Client }

func newOutput(v outputs.Values) (outputs.Output, error) {
	key, err := httppost.Key(v, "apikey", "a key")
	if err != nil {
		return nil, err
	}
	address := v.String("address")
	if address == "" {
		switch strings.ToLower(v.String("region")) {
		case "us":
			address = "https://api.opsgenie.com/v2/alerts"
		case "eu":
			address = "https://api.eu.opsgenie.com/v2/alerts"
		default:
			return nil, fmt.Errorf("%s: %q is neither us nor eu", v.Name("region"), v.String("region"))
		}
	}
	if err := httppost.CheckURL(v.Name("address"), address); err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	return &output{client: httppost.New(httppost.Options{
		Service: "Opsgenie",
		URL:     secret.New(address),
		Header:  []httppost.Header{{Name: "Authorization", Value: secret.New("GenieKey " + key)}},
		TLS:     config,
	})}, nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, o.post)
}

func (o *output) post(ctx context.Context, e *schema.Event) error {
	return o.client.SendJSON(ctx, "Opsgenie alert", alertOf(e))
}
