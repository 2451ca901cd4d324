// Package webhook delivers events as JSON to any HTTP server: one request for
// each event, its body the event as KubeArmor or Falco writes it or as OCSF has it, or
// an array or lines of them, signed if asked. It does not retry, and does not read what
// the server answers beyond the status.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/ocsf"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// The headers of a signed request.
const (
	timestampHeader = "X-SideArmor-Timestamp" // seconds since the epoch
	signatureHeader = "X-SideArmor-Signature" // "sha256=" and the hexadecimal HMAC of timestamp, ".", body
)

// minSecret is what a signing secret must have at least, in bytes: below, it
// could be found by trying.
const minSecret = 16

// Kind is the webhook output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "webhook",
		Block:   "webhook",
		Enabler: "address",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "address", Secret: true, Usage: "address to send events to; turns the output on"},
			{Key: "method", Default: http.MethodPost, Usage: "POST or PUT"},
			{Key: "batch", Usage: "array or ndjson: many events in one request; one event in each when empty"},
			{Key: "customheaders", Secret: true, Map: true, Usage: "headers to add, name:value,name:value"},
			{Key: "hmacsecret", Secret: true, Usage: "secret to sign requests with, at least 16 bytes"},
			ocsf.Setting(),
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{BatchEvents: 1, Timeout: timeout},
		New:    newOutput,
	}
}

const timeout = 10 * time.Second

// Values of batch.
const (
	batchArray = "array"
	batchLines = "ndjson"
)

type output struct {
	client *httppost.Client
	secret secret.String // zero: requests are not signed
	batch  string        // "" for one event in each request
	encode func(*schema.Event) ([]byte, error)
}

// Limits implements outputs.Batcher.
func (o *output) Limits() outputs.Limits {
	if o.batch == "" {
		return outputs.Limits{BatchEvents: 1, Timeout: timeout}
	}
	return outputs.Limits{BatchEvents: 100, BatchBytes: 1 << 20, BatchDelay: 200 * time.Millisecond, Timeout: timeout}
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
	headers, err := httppost.ParseHeaders(v.Name("customheaders"), v.String("customheaders"))
	if err != nil {
		return nil, err
	}
	signing := v.String("hmacsecret")
	if signing != "" && len(signing) < minSecret {
		return nil, fmt.Errorf("%s: has %d bytes, use at least %d", v.Name("hmacsecret"), len(signing), minSecret)
	}
	batch := strings.ToLower(v.String("batch"))
	if batch != "" && batch != batchArray && batch != batchLines {
		return nil, fmt.Errorf("%s: %q is neither array nor ndjson", v.Name("batch"), batch)
	}
	encode, err := ocsf.Encoder(v)
	if err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	return &output{
		client: httppost.New(httppost.Options{
			Service: "webhook",
			URL:     secret.New(address),
			Method:  method,
			Header:  headers,
			TLS:     config,
			Pages:   true,
		}),
		secret: secret.New(signing),
		batch:  batch,
		encode: encode,
	}, nil
}

// Deliver implements outputs.Output. A batch that is refused as a whole is sent
// again in halves.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	if o.batch == "" {
		return httppost.Each(ctx, batch, o.post)
	}
	return httppost.Halve(ctx, batch, o.postAll)
}

func (o *output) postAll(ctx context.Context, batch []schema.Event) error {
	bodies := make([][]byte, 0, len(batch))
	for i := range batch {
		one, err := o.encode(&batch[i])
		if err != nil {
			return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode event: %w", err)}
		}
		bodies = append(bodies, one)
	}
	if o.batch == batchLines {
		body := append(bytes.Join(bodies, []byte("\n")), '\n')
		return o.client.Send(ctx, body, append(o.sign(body), httppost.Header{Name: "Content-Type", Value: secret.New("application/x-ndjson")})...)
	}
	body := append(append([]byte("["), bytes.Join(bodies, []byte(","))...), ']')
	return o.client.Send(ctx, body, o.sign(body)...)
}

func (o *output) post(ctx context.Context, e *schema.Event) error {
	body, err := o.encode(e)
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode event: %w", err)}
	}
	return o.client.Send(ctx, body, o.sign(body)...)
}

// sign gives the headers of a signature. The time is in what is signed, so that
// a receiver can refuse a request that somebody recorded and sends again.
func (o *output) sign(body []byte) []httppost.Header {
	if o.secret.IsZero() {
		return nil
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(o.secret.Reveal()))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return []httppost.Header{
		{Name: timestampHeader, Value: secret.New(timestamp)},
		{Name: signatureHeader, Value: secret.New("sha256=" + hex.EncodeToString(mac.Sum(nil)))},
	}
}
