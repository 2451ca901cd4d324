// Package loki delivers events to Grafana Loki's push API, as lines of streams
// with few and bounded labels. It does not retry.
package loki

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// maxLine is max_line_size of Loki's limits_config, as it is by default
// (https://grafana.com/docs/loki/latest/configure/#limits_config).
const maxLine = 256 << 10

// Kind is the Loki output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "loki",
		Block:   "loki",
		Enabler: "hostport",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "hostport", Secret: true, Usage: "http://host:port or https://host:port; turns the output on"},
			{Key: "endpoint", Default: "/loki/api/v1/push", Usage: "path of the push API"},
			{Key: "tenant", Usage: "tenant, sent as X-Scope-OrgID"},
			{Key: "user", Usage: "user of Grafana Cloud Logs, or of basic authentication"},
			{Key: "apikey", Secret: true, Usage: "API key or password that belongs to the user"},
			{Key: "format", Default: "json", Usage: "json for the whole event, text for one sentence"},
			{Key: "extralabels", Usage: "fields to use as labels besides rule, source, priority and k8s_ns_name, separated by commas"},
			{Key: "customheaders", Secret: true, Map: true, Usage: "headers to add, name:value,name:value"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: 1000,
			BatchBytes:  2 << 20,
			BatchDelay:  time.Second,
			Timeout:     10 * time.Second,
		},
		New: newOutput,
	}
}

type output struct {
	client *httppost.Client
	text   bool // lines are sentences, not JSON
	labels *labeller
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	base := strings.TrimRight(v.String("hostport"), "/")
	if err := httppost.CheckURL(v.Name("hostport"), base); err != nil {
		return nil, err
	}
	format := v.String("format")
	if format != "json" && format != "text" {
		return nil, fmt.Errorf("%s: %q is neither json nor text", v.Name("format"), format)
	}
	labels, err := newLabeller(v.String("extralabels"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Name("extralabels"), err)
	}
	headers, err := headers(v)
	if err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	client := httppost.New(httppost.Options{
		Service: "Loki",
		URL:     secret.New(base + "/" + strings.TrimLeft(v.String("endpoint"), "/")),
		Header:  headers,
		TLS:     config,
		Explain: explain,
	})
	return &output{client: client, text: format == "text", labels: labels}, nil
}

func headers(v outputs.Values) ([]httppost.Header, error) {
	list, err := httppost.ParseHeaders(v.Name("customheaders"), v.String("customheaders"))
	if err != nil {
		return nil, err
	}
	if tenant := v.String("tenant"); tenant != "" {
		list = append(list, httppost.Header{Name: "X-Scope-OrgID", Value: secret.New(tenant)})
	}
	user, key := v.String("user"), v.String("apikey")
	if (user == "") != (key == "") {
		return nil, fmt.Errorf("%s and %s: give both or none", v.Name("user"), v.Name("apikey"))
	}
	if user != "" {
		list = append(list, httppost.Basic(user, key))
	}
	return list, nil
}

// Deliver implements outputs.Output. Loki stores what is right in a request and
// refuses the rest without saying which; to send the same line again costs
// nothing, since it keeps it once.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Halve(ctx, batch, o.push)
}

func (o *output) push(ctx context.Context, batch []schema.Event) error {
	var p payload
	for i := range batch {
		if err := o.add(&p, &batch[i]); err != nil {
			return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode event: %w", err)}
		}
	}
	body, err := json.Marshal(&p)
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode events: %w", err)}
	}
	return o.client.Send(ctx, body)
}

// payload is the body of a push.
type payload struct {
	Streams []*stream `json:"streams"`
}

type stream struct {
	Labels map[string]string `json:"stream"`
	Values [][2]string       `json:"values"` // nanoseconds since the epoch, line
}

func (o *output) add(p *payload, e *schema.Event) error {
	f := e.ToFalco()
	line := f.Output
	if !o.text {
		body, err := e.Body()
		if err != nil {
			return err
		}
		line = string(clip.JSON(body, maxLine))
	}
	s := p.stream(o.labels.of(&f))
	s.Values = append(s.Values, [2]string{fmt.Sprint(when(e).UnixNano()), clip.Bytes(strings.ToValidUTF8(line, "\ufffd"), maxLine)})
	return nil
}

func (p *payload) stream(labels map[string]string) *stream {
	for _, s := range p.Streams {
		if maps.Equal(s.Labels, labels) {
			return s
		}
	}
	s := &stream{Labels: labels}
	p.Streams = append(p.Streams, s)
	return s
}

func when(e *schema.Event) time.Time {
	if t := e.Time(); !t.IsZero() {
		return t
	}
	return e.Received
}

// explain gives the reason of a refusal in words of ours: Loki's own repeat
// what was sent.
func explain(body []byte) (reason string, wait time.Duration) {
	text := strings.ToLower(string(body))
	for _, known := range [][2]string{
		{"too old", "the time of an event is too old"},
		{"too far behind", "the time of an event is too far behind"},
		{"too new", "the time of an event is in the future"},
		{"max entry size", "an event is too large"},
		{"per stream rate limit", "a stream's rate limit is reached"},
		{"ingestion rate limit", "the tenant's rate limit is reached"},
		{"stream limit", "the tenant has too many streams"},
		{"no org id", "a tenant is needed"},
		{"label", "the labels are not accepted"},
	} {
		if strings.Contains(text, known[0]) {
			return known[1], 0
		}
	}
	return "", 0
}
