package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// DeliverDigest implements outputs.Digester.
func (o *output) DeliverDigest(ctx context.Context, d *outputs.Digest) error {
	if d.Examples[0].Kind != schema.KindFalco {
		return o.webhook(ctx, o.digest(d))
	}
	body, err := json.Marshal(o.falcoDigest(d))
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode Slack message: %w", err)}
	}
	return o.client.Send(ctx, append(body, '\n'))
}

// digest is laid out as a single event is, with the examples below what all events
// share. A template words the first of them.
func (s *style) digest(d *outputs.Digest) *slack.WebhookMessage {
	sum := summary.OfDigest(d)
	m := s.laidOut(&d.Examples[0], sum.Title, &sum.Summary)
	body := s.body(&sum.Summary)
	last := len(body) - 1
	shown := make([]string, 0, len(sum.Examples))
	for _, e := range sum.Examples {
		shown = append(shown, "• "+code(e, maxValue))
	}
	examples := slack.NewSectionBlock(markdown("*Examples*\n"+strings.Join(shown, "\n")), nil, nil)
	m.Attachments[0].Blocks.BlockSet = append(body[:last:last], examples, body[last])
	return m
}

// falcoDigest is the message of the first event with what is said of all.
func (s *style) falcoDigest(d *outputs.Digest) falcoMessage {
	m := s.falcoMessage(d.Examples[0].Falco)
	a := &m.Attachments[0]
	times := fmt.Sprintf("%d times: ", d.Count)
	a.Fallback = times + a.Fallback
	if a.Text != "" {
		a.Text = times + a.Text
	}
	if a.Fields == nil {
		return m
	}
	var all []falcoField
	for _, f := range append(summary.Times(d), summary.Fact{Name: "Resource", Value: d.Resource}) {
		if f.Value != "" {
			all = append(all, short(strings.ToLower(f.Name), f.Value))
		}
	}
	for i, e := range d.Examples[1:] {
		all = append(all, falcoField{Title: fmt.Sprintf("example %d", i+2), Value: lines(e.Falco.Output, maxFalcoValue)})
	}
	a.Fields = append(all, a.Fields...)
	return m
}
