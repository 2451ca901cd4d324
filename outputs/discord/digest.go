package discord

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
)

// DeliverDigest implements outputs.Digester.
func (o *output) DeliverDigest(ctx context.Context, d *outputs.Digest) error {
	return o.send(ctx, o.digest(d))
}

// digest is laid out as a single event is, with what is said of all events.
func (o *output) digest(d *outputs.Digest) message {
	if d.Examples[0].Falco != nil {
		return o.envelope(falcoEmbed(d.Examples[0].Falco, falcoDigest(d)...))
	}
	s := summary.OfDigest(d)
	content := o.embed(&d.Examples[0], s.Title, &s.Summary)
	shown := make([]string, 0, len(s.Examples))
	for _, e := range s.Examples {
		shown = append(shown, code(e, maxExample))
	}
	content.Fields = append(content.Fields, field{Name: "Examples", Value: strings.Join(shown, "\n")})
	return o.envelope(content)
}

// maxExample keeps three examples, with the facts, within maxTotal.
const maxExample = 250

func falcoDigest(d *outputs.Digest) []field {
	var all []field
	for _, f := range append(summary.Times(d), summary.Fact{Name: "Resource", Value: d.Resource}) {
		all = append(all, field{Name: strings.ToLower(f.Name), Value: inline(f.Value)})
	}
	for i, e := range d.Examples[1:] {
		all = append(all, field{Name: fmt.Sprintf("example %d", i+2), Value: inline(e.Falco.Output)})
	}
	return all
}

// envelope makes the body of a webhook call of an embed.
func (o *output) envelope(content embed) message {
	return message{AvatarURL: o.icon, AllowedMentions: allowedMentions{Parse: []string{}}, Embeds: []embed{content}}
}

func (o *output) send(ctx context.Context, m message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode Discord message: %w", err)}
	}
	return o.client.Send(ctx, body)
}
