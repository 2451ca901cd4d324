// Package datadog posts events to Datadog's event stream by its Events API, version 1.
// It does not send logs or metrics, and does not retry.
package datadog

import (
	"context"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the Datadog output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "datadog",
		Block:   "datadog",
		Enabler: "apikey",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "apikey", Secret: true, Usage: "API key; turns the output on"},
			{Key: "host", Default: "https://api.datadoghq.com", Usage: "address of the API of the account's site, such as https://api.datadoghq.eu"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second},
		New:    newOutput,
	}
}

type output struct{ client *httppost.Client }

func newOutput(v outputs.Values) (outputs.Output, error) {
	key, err := httppost.Key(v, "apikey", "an API key")
	if err != nil {
		return nil, err
	}
	base := strings.TrimRight(v.String("host"), "/")
	if err := httppost.CheckURL(v.Name("host"), base); err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	return &output{client: httppost.New(httppost.Options{
		Service: "Datadog",
		URL:     secret.New(base + "/api/v1/events"),
		Header:  []httppost.Header{{Name: "DD-API-KEY", Value: secret.New(key)}},
		TLS:     config,
	})}, nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, o.post)
}

func (o *output) post(ctx context.Context, e *schema.Event) error {
	return o.client.SendJSON(ctx, "Datadog event", message(e, time.Now()))
}
