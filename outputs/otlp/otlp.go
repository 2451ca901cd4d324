// Package otlp delivers events as OpenTelemetry log records, by OTLP over HTTP
// with protobuf. It does not use OpenTelemetry's SDK, whose exporter decides
// about retries by itself, and speaks no gRPC.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"google.golang.org/protobuf/proto"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// defaultPath is that of the specification, for an endpoint without one
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp-request).
const defaultPath = "/v1/logs"

// Kind is the OTLP logs output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "otlplogs",
		Block:   "otlp.logs",
		Enabler: "endpoint",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "endpoint", Secret: true, Usage: "http://host:4318/v1/logs or the like; the path is /v1/logs where none is given; turns the output on"},
			{Key: "protocol", Default: "http/protobuf", Usage: "http/protobuf is the only one"},
			{Key: "headers", Secret: true, Usage: "headers to add, name=value,name=value, values with %XX as in OTEL_EXPORTER_OTLP_HEADERS"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: 500,
			BatchBytes:  2 << 20,
			BatchDelay:  time.Second,
			Timeout:     10 * time.Second,
		},
		New: newOutput,
	}
}

type output struct{ client *httppost.Client }

func newOutput(v outputs.Values) (outputs.Output, error) {
	endpoint := v.String("endpoint")
	if err := httppost.CheckURL(v.Name("endpoint"), endpoint); err != nil {
		return nil, err
	}
	if u, err := url.Parse(endpoint); err == nil && strings.Trim(u.Path, "/") == "" {
		u.Path = defaultPath
		endpoint = u.String()
	}
	if p := v.String("protocol"); p != "http/protobuf" {
		return nil, fmt.Errorf("%s: %q is not supported, only http/protobuf is", v.Name("protocol"), p)
	}
	headers, err := parseHeaders(v.Name("headers"), v.String("headers"))
	if err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	return &output{client: httppost.New(httppost.Options{
		Service: "OTLP receiver",
		URL:     secret.New(endpoint),
		Header:  append(headers, httppost.Header{Name: "Content-Type", Value: secret.New("application/x-protobuf")}),
		TLS:     config,
	})}, nil
}

// parseHeaders reads the form that OpenTelemetry's variables have. Values are
// credentials: errors count headers instead of showing them.
func parseHeaders(name, s string) ([]httppost.Header, error) {
	var list []httppost.Header
	for i, pair := range strings.Split(s, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		key = strings.TrimSpace(key)
		if !ok || err != nil || !httpguts.ValidHeaderFieldName(key) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%s: header %d is not name=value with characters that HTTP allows", name, i+1)
		}
		list = append(list, httppost.Header{Name: key, Value: secret.New(value)})
	}
	return list, nil
}

// Deliver implements outputs.Output. A request that is refused as a whole is
// sent again in halves.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Halve(ctx, batch, o.export)
}

func (o *output) export(ctx context.Context, batch []schema.Event) error {
	body, err := proto.Marshal(request(batch))
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode events: %w", err)}
	}
	return o.client.Exchange(ctx, body, 64<<10, func(answer []byte) error { return read(answer, len(batch)) })
}

// read looks for records that the receiver took note of and threw away. It says
// how many, not which, and must not be sent the others again: so all of the
// batch counts as refused, and none is lost.
func read(answer []byte, n int) error {
	var r collector.ExportLogsServiceResponse
	if err := proto.Unmarshal(answer, &r); err != nil {
		return &outputs.Error{Class: outputs.Transient, Err: errors.New("the answer is not that of an OTLP receiver")}
	}
	rejected := r.GetPartialSuccess().GetRejectedLogRecords()
	if rejected <= 0 {
		return nil
	}
	all := make([]int, n) // named, so that they are not sent again in halves
	for i := range all {
		all[i] = i
	}
	return &outputs.Error{
		Class: outputs.Permanent, Failed: all,
		Err: fmt.Errorf("OTLP receiver rejected %d of %d log records without saying which", rejected, n),
	}
}
