package chat

import (
	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Webhook makes the client of a service whose webhook is its address and credential,
// the setting webhookurl. refusal is as httppost has it.
func Webhook(v outputs.Values, service string, refusal func([]byte) error) (*httppost.Client, error) {
	address := v.String("webhookurl")
	if err := httppost.CheckURL(v.Name("webhookurl"), address); err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	return httppost.New(httppost.Options{
		Service: service, URL: secret.New(address), TLS: config, Refusal: refusal,
	}), nil
}

// signed is the body of Slack's first webhooks, which other services take too.
type signed struct {
	Text     string `json:"text"`
	Username string `json:"username,omitempty"`
	IconURL  string `json:"icon_url,omitempty"`
}

// SlackWebhook makes an output of a service whose webhook takes what Slack's took. It
// reads webhookurl, username, icon, footer and StyleSettings; refusal is as httppost
// has it.
func SlackWebhook(v outputs.Values, service string, markup Markup, refusal func([]byte) error) (outputs.Output, error) {
	client, err := Webhook(v, service, refusal)
	if err != nil {
		return nil, err
	}
	style, err := NewStyle(v, v.String("footer"))
	if err != nil {
		return nil, err
	}
	name, icon := v.String("username"), v.String("icon")
	return &Output{
		Client: client, Style: style, Markup: markup,
		Message: func(text string) any { return signed{text, name, icon} },
	}, nil
}
