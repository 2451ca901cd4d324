// Package httppost sends to HTTP services for the outputs, and turns whatever
// goes wrong into an *outputs.Error whose text holds no address. It does not
// know what is sent, and never sends twice: retries are the dispatcher's.
package httppost

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema/secret"
)

const (
	userAgent = "sidearmor"
	// maxReason is how much of a refusal is read for its reason. Discord's
	// longest list of faults is well below.
	maxReason = 8 << 10
	// maxPrefix is how much of any other answer is looked at.
	maxPrefix = 512
	// maxDrain is how much of an answer is read so that its connection can be
	// used again. Past that a new connection is cheaper.
	maxDrain = 64 << 10
	// backstop ends a request whose context has no deadline.
	backstop = time.Minute
)

// Options describe one service.
type Options struct {
	Service string        // how error texts name it: "slack"
	URL     secret.String // checked by CheckURL
	Method  string        // POST when empty
	Header  []Header
	TLS     *tls.Config // nil for Go's own
	// Class corrects the class of a failure by the beginning of the answer, for
	// services whose status does not tell a wrong setting from a wrong event. May be
	// nil.
	Class func(body []byte, byStatus outputs.Class) outputs.Class
	// Refusal reads the beginning of a 2xx answer, for services that refuse with
	// one, and gives what Deliver is to return: nil when it is no refusal. May be
	// nil.
	Refusal func(body []byte) error
	// Pages says that a web page is an answer like any other. Else a 2xx with one is
	// that of a sign-in page or a proxy on the way, and the service has nothing.
	Pages bool
	// Answered is shown the header of every answer. May be nil.
	Answered func(http.Header)
	// Explain reads a refusal: why, and how long to wait. The reason becomes
	// part of the error text, so it must hold nothing that the service could
	// have copied from the request. May be nil.
	Explain func(body []byte) (reason string, wait time.Duration)
}

// Header is a request header whose value may be a credential.
type Header struct {
	Name  string
	Value secret.String
}

// Client sends to one service. It is safe for concurrent use.
type Client struct {
	options   Options
	transport http.RoundTripper
	limit     int64 // of what Refusal is given
}

// New makes a Client with connections of its own.
func New(o Options) *Client {
	if o.Method == "" {
		o.Method = http.MethodPost
	}
	transport := NewTransport()
	if o.TLS != nil {
		transport.TLSClientConfig = o.TLS.Clone()
	}
	return &Client{options: o, transport: transport, limit: maxReason}
}

// NewTransport makes a transport that uses the proxy of the environment, TLS
// 1.2 or later (Go's default for clients), and bounded everything.
func NewTransport() *http.Transport {
	proxy := httpproxy.FromEnvironment().ProxyFunc()
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  quietProxy(proxy),
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // answers are short; a packed one could be large
		MaxIdleConns:           4,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// Send sends one JSON body, with headers besides those of the options, and
// returns nil only for a 2xx answer.
func (c *Client) Send(ctx context.Context, body []byte, more ...Header) error {
	return c.Do(func(client *http.Client) error {
		req, err := http.NewRequestWithContext(ctx, c.options.Method, c.options.URL.Reveal(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		for _, h := range slices.Concat(c.options.Header, more) {
			if http.CanonicalHeaderKey(h.Name) == "Host" {
				req.Host = h.Value.Reveal() // net/http ignores the header
				continue
			}
			req.Header.Add(h.Name, h.Value.Reveal())
		}
		if req.Header.Get("Content-Type") == "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body) // recorder bounds it
		return resp.Body.Close()
	})
}

// SendJSON is Send for a value that is still to be encoded, and that holds no secret: an
// error of the encoding may show a part of it. what names the value in that error.
func (c *Client) SendJSON(ctx context.Context, what string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode %s: %w", what, err)}
	}
	return c.Send(ctx, body)
}

// Exchange is Send for a service that says in its 2xx answers what it has taken:
// read is given at most limit bytes of it, and what it returns is returned.
func (c *Client) Exchange(ctx context.Context, body []byte, limit int64, read func(answer []byte) error, more ...Header) error {
	one := *c
	one.options.Refusal, one.limit = read, limit
	return one.Send(ctx, body, more...)
}

// Do runs call, which makes one request with the client that it is given, and
// judges the answer that came. Once the service has answered, its answer alone
// counts, not what call makes of it.
func (c *Client) Do(call func(*http.Client) error) error {
	rec := &recorder{base: c.transport, limit: maxPrefix}
	if c.options.Refusal != nil {
		rec.limit = c.limit
	}
	err := call(&http.Client{
		Transport: rec,
		Timeout:   backstop,
		// An address that was given in confidence is not shown to whoever a
		// redirect points to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	if rec.status != 0 {
		if c.options.Answered != nil {
			c.options.Answered(rec.header)
		}
		return c.judge(rec)
	}
	if err == nil {
		err = errors.New("no request was made")
	}
	return &outputs.Error{
		Class: outputs.Transient,
		Err:   fmt.Errorf("send to %s: %w", c.options.Service, Redact(err)),
	}
}

func (c *Client) judge(rec *recorder) error {
	class, ok := Judge(rec.status)
	if ok && !c.options.Pages && isPage(rec.body) {
		return &outputs.Error{
			Class: outputs.Transient,
			Err:   fmt.Errorf("%s answered %d with a web page, as a sign-in page or a proxy does", c.options.Service, rec.status),
		}
	}
	if ok && c.options.Refusal != nil && rec.broken != nil {
		return &outputs.Error{
			Class: outputs.Transient,
			Err:   fmt.Errorf("read the answer of %s: %w", c.options.Service, Redact(rec.broken)),
		}
	}
	if ok && c.options.Refusal != nil {
		return c.options.Refusal(rec.body)
	}
	if ok {
		return nil
	}
	if c.options.Class != nil {
		class = c.options.Class(rec.body, class)
	}
	text := fmt.Sprintf("%s answered %d %s", c.options.Service, rec.status, http.StatusText(rec.status))
	wait := RetryAfter(rec.header, time.Now())
	if c.options.Explain != nil {
		reason, asked := c.options.Explain(rec.body)
		if reason != "" {
			text += ": " + reason
		}
		wait = max(wait, min(asked, maxWait))
	}
	if class == outputs.Permanent {
		wait = 0
	}
	return &outputs.Error{Class: class, RetryAfter: wait, Err: errors.New(text)}
}

// recorder notes the answer to the one request that passes, and bounds how
// much of it can be read.
type recorder struct {
	base   http.RoundTripper
	limit  int64 // how much of a 2xx answer is kept
	status int   // 0 while there is no answer
	header http.Header
	body   []byte // the beginning of an answer
	broken error  // why no more of a 2xx answer could be read
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", userAgent)
	}
	resp, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	r.status, r.header = resp.StatusCode, resp.Header
	switch {
	case resp.StatusCode < 200:
		// 101: what follows is another protocol, and has no end to wait for.
		_ = resp.Body.Close()
		resp.Body = http.NoBody
	case resp.StatusCode >= 300:
		// A body that breaks off still explains something.
		r.body, _ = io.ReadAll(io.LimitReader(resp.Body, maxReason))
	default:
		r.body, r.broken = io.ReadAll(io.LimitReader(resp.Body, r.limit))
	}
	resp.Body = &boundedBody{Reader: io.LimitReader(resp.Body, maxDrain), Closer: resp.Body}
	return resp, nil
}

// Bound gives a transport that hands on at most limit bytes of an answer's
// body, for a client that reads all of what it is given.
func Bound(base http.RoundTripper, limit int64) http.RoundTripper {
	return &bounded{base: base, limit: limit}
}

type bounded struct {
	base  http.RoundTripper
	limit int64
}

func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 {
		_ = resp.Body.Close() // see recorder
		resp.Body = http.NoBody
	}
	resp.Body = &boundedBody{Reader: io.LimitReader(resp.Body, b.limit), Closer: resp.Body}
	return resp, nil
}

type boundedBody struct {
	io.Reader
	io.Closer
}
