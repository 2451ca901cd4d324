// Package splunk delivers events to Splunk's HTTP Event Collector (HEC), as many in a
// request as a batch has. It does not wait for indexers to acknowledge, and does not
// retry.
package splunk

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// maxEvent keeps an event below the megabyte that Splunk Cloud takes
// (https://help.splunk.com/en/splunk-cloud-platform/get-data-in/collect-http-event-data).
const maxEvent = 500_000

// defaultPath is where collectors listen.
const defaultPath = "/services/collector/event"

// Kind is the Splunk output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "splunk",
		Block:   "splunk",
		Enabler: "host",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "host", Secret: true, Usage: "address of the collector, https://host:8088; turns the output on"},
			{Key: "token", Secret: true, Usage: "token of the collector"},
			{Key: "index", Usage: "index to write to; the token's when empty"},
			{Key: "sourcetype", Default: "_json", Usage: "source type of the events"},
			{Key: "customheaders", Secret: true, Map: true, Usage: "headers to add, name:value,name:value"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: 500,
			BatchBytes:  800_000,
			BatchDelay:  time.Second,
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

type output struct {
	client            *httppost.Client
	index, sourceType string
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	address := v.String("host")
	if err := httppost.CheckURL(v.Name("host"), address); err != nil {
		return nil, err
	}
	if u, err := url.Parse(address); err == nil && strings.Trim(u.Path, "/") == "" {
		u.Path = defaultPath
		address = u.String()
	}
	token, err := httppost.Key(v, "token", "a token")
	if err != nil {
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
	return &output{index: v.String("index"), sourceType: v.String("sourcetype"), client: httppost.New(httppost.Options{
		Service: "Splunk",
		URL:     secret.New(address),
		Header:  append(headers, httppost.Header{Name: "Authorization", Value: secret.New("Splunk " + token)}),
		TLS:     config,
		Class:   classOf,
		Explain: explain,
	})}, nil
}

// Deliver implements outputs.Output. A request that is refused, as it is for one wrong
// event, is sent again in halves.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Halve(ctx, batch, o.post)
}

// event is what the collector takes
// (https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data/format-events-for-http-event-collector).
type event struct {
	Time       json.Number     `json:"time,omitempty"` // seconds
	Host       string          `json:"host,omitempty"`
	Source     string          `json:"source"`
	SourceType string          `json:"sourcetype,omitempty"`
	Index      string          `json:"index,omitempty"`
	Event      json.RawMessage `json:"event"`
}

// post sends the events one behind the other, without anything in between.
func (o *output) post(ctx context.Context, batch []schema.Event) error {
	var b bytes.Buffer
	for i := range batch {
		e := &batch[i]
		body, err := e.Body()
		if err != nil {
			return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode event: %w", err)}
		}
		text, err := json.Marshal(event{
			Time: seconds(e.Time()), Host: host(e), Source: "sidearmor", SourceType: o.sourceType, Index: o.index,
			Event: clip.JSON(body, maxEvent),
		})
		if err != nil {
			return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode event: %w", err)}
		}
		b.Write(text)
	}
	if b.Len() == 0 {
		return nil
	}
	return o.client.Send(ctx, b.Bytes())
}

func seconds(t time.Time) json.Number {
	if t.UnixMilli() <= 0 {
		return ""
	}
	return json.Number(fmt.Sprintf("%d.%03d", t.Unix(), t.Nanosecond()/1e6))
}

func host(e *schema.Event) string {
	if e.Falco != nil {
		return clip.Line(e.Falco.Hostname, 250, nil)
	}
	r := summary.Record(e)
	return clip.Line(cmp.Or(r.HostName, r.PodName), 250, nil)
}

// answer is what the collector says
// (https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data/troubleshoot-http-event-collector).
type answer struct {
	Code *int   `json:"code"`
	Text string `json:"text"`
}

// Codes that come with a 400 and say nothing of the events: the token may not write
// there, or wants a header.
const (
	incorrectIndex = 7
	noChannel      = 10
	invalidChannel = 11
	ackDisabled    = 14
)

func classOf(body []byte, byStatus outputs.Class) outputs.Class {
	var a answer
	if json.Unmarshal(body, &a) == nil && a.Code != nil {
		switch *a.Code {
		case incorrectIndex, noChannel, invalidChannel, ackDisabled:
			return outputs.Transient
		}
	}
	return byStatus
}

// explain takes the text over only with a code, which a proxy's page does not have.
func explain(body []byte) (string, time.Duration) {
	var a answer
	if json.Unmarshal(body, &a) != nil || a.Code == nil {
		return "", 0
	}
	if strings.ContainsAny(a.Text, "/:") {
		return fmt.Sprintf("code %d", *a.Code), 0
	}
	return fmt.Sprintf("code %d, %s", *a.Code, clip.Line(a.Text, 100, nil)), 0
}
