package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/schema"
)

// Output sends each event, or a digest of many, as one text.
type Output struct {
	Client  *httppost.Client
	Markup  Markup
	Style   Style
	Message func(text string) any // what is sent as JSON
}

// Deliver implements outputs.Output.
func (o *Output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, func(ctx context.Context, e *schema.Event) error {
		return o.send(ctx, o.writer().event(e))
	})
}

// DeliverDigest implements outputs.Digester.
func (o *Output) DeliverDigest(ctx context.Context, d *outputs.Digest) error {
	return o.send(ctx, o.writer().digest(d))
}

func (o *Output) writer() *writer { return &writer{o.Markup, o.Style} }

func (o *Output) send(ctx context.Context, text string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(o.Message(text)); err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode message: %w", err)}
	}
	return o.Client.Send(ctx, b.Bytes())
}
