// Package elasticsearch delivers events to Elasticsearch or OpenSearch by the
// bulk API, one document for each. It makes no templates, and does not retry.
package elasticsearch

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

const (
	batchEvents = 1000
	// maxAnswer is more than a batch's answer can have: with filter_path it is
	// some 30 bytes for a document that was stored, and a reason for one that was
	// not.
	maxAnswer = batchEvents * (2 << 10)
)

// Kind is the Elasticsearch output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "elasticsearch",
		Block:   "elasticsearch",
		Enabler: "hostport",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "hostport", Secret: true, Usage: "http://host:port or https://host:port of Elasticsearch or OpenSearch; turns the output on"},
			{Key: "index", Default: "falco", Usage: "name of the index or data stream, without its suffix"},
			{Key: "suffix", Default: "daily", Usage: "date behind the index's name: daily, monthly, annually or none; none for a data stream"},
			{Key: "username", Usage: "user to authenticate as"},
			{Key: "password", Secret: true, Usage: "password that belongs to the user"},
			{Key: "apikey", Secret: true, Usage: "API key in its encoded form, instead of a user"},
			{Key: "pipeline", Usage: "ingest pipeline"},
			{Key: "customheaders", Secret: true, Map: true, Usage: "headers to add, name:value,name:value"},
			{Key: "enablecompression", Default: "false", Usage: "true packs requests with gzip"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: batchEvents,
			BatchBytes:  4 << 20,
			BatchDelay:  time.Second,
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

// indexName is what Elasticsearch allows for names of indices, as far as it
// concerns a name that a date follows, up to maxIndex characters
// (https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-create).
var indexName = regexp.MustCompile(`^[^A-Z\\/*?"<>| ,#:_+\-.][^A-Z\\/*?"<>| ,#:]*$`)

const maxIndex = 200

type output struct {
	client   *httppost.Client
	index    string
	suffix   string // layout of the date, "" for none
	compress bool
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	base := strings.TrimRight(v.String("hostport"), "/")
	if err := httppost.CheckURL(v.Name("hostport"), base); err != nil {
		return nil, err
	}
	o := &output{index: v.String("index")}
	if !indexName.MatchString(o.index) || utf8.RuneCountInString(o.index) > maxIndex {
		return nil, fmt.Errorf("%s: %q is not a name of an index", v.Name("index"), o.index)
	}
	layouts := map[string]string{"daily": "-2006.01.02", "monthly": "-2006.01", "annually": "-2006", "none": ""}
	var ok bool
	if o.suffix, ok = layouts[v.String("suffix")]; !ok {
		return nil, fmt.Errorf("%s: unknown value %q", v.Name("suffix"), v.String("suffix"))
	}
	var err error
	if o.compress, err = outputs.Bool(v, "enablecompression"); err != nil {
		return nil, err
	}
	headers, err := o.headers(v)
	if err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	o.client = httppost.New(httppost.Options{
		Service: "Elasticsearch",
		URL:     secret.New(base + "/_bulk?" + query(v.String("pipeline"))),
		Header:  headers,
		TLS:     config,
	})
	return o, nil
}

func (o *output) headers(v outputs.Values) ([]httppost.Header, error) {
	list, err := httppost.ParseHeaders(v.Name("customheaders"), v.String("customheaders"))
	if err != nil {
		return nil, err
	}
	user, password, key := v.String("username"), v.String("password"), v.String("apikey")
	switch {
	case (user == "") != (password == ""):
		return nil, fmt.Errorf("%s and %s: give both or none", v.Name("username"), v.Name("password"))
	case user != "" && key != "":
		return nil, fmt.Errorf("%s and %s: give one of them", v.Name("username"), v.Name("apikey"))
	case user != "":
		list = append(list, httppost.Basic(user, password))
	case key != "":
		list = append(list, httppost.Header{Name: "Authorization", Value: secret.New("ApiKey " + key)})
	}
	if o.compress {
		list = append(list, httppost.Header{Name: "Content-Encoding", Value: secret.New("gzip")})
	}
	return append(list, httppost.Header{Name: "Content-Type", Value: secret.New("application/x-ndjson")}), nil
}

// Deliver implements outputs.Output. A request that is refused as a whole, as
// proxies do when it is too large for them, is sent again in halves.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Halve(ctx, batch, o.bulk)
}

func (o *output) bulk(ctx context.Context, batch []schema.Event) error {
	var b bytes.Buffer
	for i := range batch {
		if err := o.add(&b, &batch[i]); err != nil {
			return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode event: %w", err)}
		}
	}
	body := b.Bytes()
	if o.compress {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, _ = z.Write(body) // a buffer takes everything
		_ = z.Close()
		body = packed.Bytes()
	}
	return o.client.Exchange(ctx, body, maxAnswer, func(answer []byte) error { return read(answer, len(batch)) })
}
