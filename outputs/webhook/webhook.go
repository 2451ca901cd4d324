// Package webhook delivers events as JSON to any HTTP server: one request for
// each event, its body the event as KubeArmor or Falco writes it. It does not
// retry, and does not read what the server answers beyond the status.
package webhook

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the webhook output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "webhook",
		Block:   "webhook",
		Enabler: "address",
		Logs:    true,
		Settings: []outputs.Setting{
			{Key: "address", Secret: true, Usage: "address to send events to; turns the output on"},
			{Key: "method", Default: http.MethodPost, Usage: "POST or PUT"},
			{Key: "customheaders", Secret: true, Map: true, Usage: "headers to add, name:value,name:value"},
		},
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 10 * time.Second},
		New:    newOutput,
	}
}

type output struct {
	client *httppost.Client
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	address := v.String("address")
	if err := httppost.CheckURL(v.Name("address"), address); err != nil {
		return nil, err
	}
	method := strings.ToUpper(v.String("method"))
	if method != http.MethodPost && method != http.MethodPut {
		return nil, fmt.Errorf("%s: %q is neither POST nor PUT", v.Name("method"), method)
	}
	headers, err := parseHeaders(v.String("customheaders"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Name("customheaders"), err)
	}
	return &output{client: httppost.New(httppost.Options{
		Service: "webhook",
		URL:     secret.New(address),
		Method:  method,
		Header:  headers,
	})}, nil
}

// parseHeaders reads name:value pairs, one a line where there are line ends,
// else separated by commas. Unlike FalcoSidekick it takes values with a colon.
// Values are credentials: errors count headers instead of showing them.
func parseHeaders(s string) ([]httppost.Header, error) {
	separator := ","
	if strings.Contains(s, "\n") {
		separator = "\n"
	}
	var list []httppost.Header
	for i, pair := range strings.Split(s, separator) {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok:
			return nil, fmt.Errorf("header %d is not name:value", i+1)
		case !httpguts.ValidHeaderFieldName(name):
			return nil, fmt.Errorf("header %d has a name that HTTP does not allow", i+1)
		case !httpguts.ValidHeaderFieldValue(value):
			return nil, fmt.Errorf("header %d has a value that HTTP does not allow", i+1)
		}
		list = append(list, httppost.Header{Name: name, Value: secret.New(value)})
	}
	return list, nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, o.post)
}

func (o *output) post(ctx context.Context, e *schema.Event) error {
	body, err := e.Body()
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode event: %w", err)}
	}
	return o.client.Send(ctx, body)
}
