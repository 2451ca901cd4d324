// Package falcosidekick relays events to a stock FalcoSidekick, and so to every
// output that it has: one request for each event, in Falco's format. It does not
// retry, and does not know what FalcoSidekick makes of an event afterwards.
package falcosidekick

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the falcosidekick output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "falcosidekick",
		Block:   "falcosidekick",
		Enabler: "address",
		// Most of FalcoSidekick's outputs are read by people, and it drops what it
		// cannot send at once.
		Logs: false,
		Settings: append([]outputs.Setting{
			{Key: "address", Secret: true, Usage: "address of a FalcoSidekick, http://host:2801/; turns the output on"},
			{Key: "customheaders", Secret: true, Map: true, Usage: "headers to add, name:value,name:value"},
		}, tlsclient.Settings()...),
		// FalcoSidekick reads one event from a request and ignores the rest.
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
	headers, err := httppost.ParseHeaders(v.Name("customheaders"), v.String("customheaders"))
	if err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	return &output{client: httppost.New(httppost.Options{
		Service: "falcosidekick",
		URL:     secret.New(address),
		Header:  headers,
		TLS:     config,
	})}, nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, o.post)
}

func (o *output) post(ctx context.Context, e *schema.Event) error {
	return o.client.SendJSON(ctx, "Falco event", falco(e))
}

// falco is the event as FalcoSidekick takes it: with the fields that its check
// asks for (types.FalcoPayload.Check), and with a namespace and a pod that are
// strings. Of others its handler panics and hangs up without an answer, so the
// event would be tried for ever.
func falco(e *schema.Event) schema.FalcoEvent {
	f := e.ToFalco()
	if f.Priority == schema.PriorityDefault {
		f.Priority = schema.PriorityDebug
	}
	f.Rule = cmp.Or(f.Rule, "unnamed rule")
	if f.Time.IsZero() {
		if f.Time = e.Received; f.Time.IsZero() {
			f.Time = time.Unix(0, 0).UTC()
		}
	}
	for _, key := range []string{"k8s.ns.name", "k8s.pod.name"} {
		value, ok := f.OutputFields[key]
		if _, text := value.(string); ok && !text {
			f.OutputFields = maps.Clone(f.OutputFields) // the event's own is shared
			f.OutputFields[key] = fmt.Sprint(value)
		}
	}
	if len(f.OutputFields) == 0 {
		f.OutputFields = map[string]any{"event.id": e.ID}
	}
	return f
}
