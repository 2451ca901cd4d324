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
