// Package fluent delivers events to Fluent Bit, FireLens among them, or Fluentd by the
// Forward protocol, and waits until they are acknowledged. It does not retry.
package fluent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/fluent-forward-go/fluent/client"
	"github.com/IBM/fluent-forward-go/fluent/protocol"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the Fluent Forward output. Its block is not "fluent": ECS gives FLUENT_HOST
// and FLUENT_PORT to every container beside FireLens.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "fluentforward",
		Block:   "fluentforward",
		Enabler: "hostport",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "hostport", Usage: "host:port of Fluent Bit or Fluentd, or unix:///path of its socket; the port is 24224 when none is given; turns the output on"},
			{Key: "tag", Default: "sidearmor", Usage: "tag of the events"},
			{Key: "sharedkey", Secret: true, Usage: "key that the server asks for"},
			{Key: "tls", Default: "false", Usage: "true encrypts the connection"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: 500,
			BatchBytes:  1 << 20,
			BatchDelay:  200 * time.Millisecond,
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

// tagName is what routing by tags can match.
var tagName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

type output struct {
	network, address string
	tag              string
	key              secret.String
	host             string      // how we call ourselves in a handshake
	tls              *tls.Config // nil for no TLS
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	o := &output{tag: v.String("tag"), key: secret.New(v.String("sharedkey")), host: "sidearmor"}
	if host, err := os.Hostname(); err == nil {
		o.host = host
	}
	if err := o.setAddress(v); err != nil {
		return nil, err
	}
	if !tagName.MatchString(o.tag) {
		return nil, fmt.Errorf("%s: %q is not a tag", v.Name("tag"), o.tag)
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	encrypted, err := outputs.Bool(v, "tls")
	if err != nil || !encrypted {
		return o, err
	}
	if o.network == "unix" {
		return nil, fmt.Errorf("%s: there is no TLS on a socket file", v.Name("tls"))
	}
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config.ServerName, _, _ = net.SplitHostPort(o.address)
	o.tls = config
	return o, nil
}

func (o *output) setAddress(v outputs.Values) error {
	given := strings.TrimSpace(v.String("hostport"))
	if path, ok := strings.CutPrefix(given, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("%s: %q is not unix:///path", v.Name("hostport"), given)
		}
		o.network, o.address = "unix", path
		return nil
	}
	host, port, err := net.SplitHostPort(given)
	if err != nil {
		host, port = strings.Trim(given, "[]"), "24224"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/ @") {
		return fmt.Errorf("%s: %q is not host:port", v.Name("hostport"), given)
	}
	o.network, o.address = "tcp", net.JoinHostPort(host, port)
	return nil
}

// Deliver implements outputs.Output. A batch is one message on a connection of its
// own: what was acknowledged was taken as a whole.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	var f outputs.Failures
	entries := make(protocol.EntryList, 0, len(batch))
	var at []int // the events of entries
	for i := range batch {
		e, err := entry(&batch[i])
		if err != nil {
			f.Refuse(i, fmt.Errorf("encode event: %w", err))
			continue
		}
		entries, at = append(entries, e), append(at, i)
	}
	if len(entries) > 0 {
		if err := o.send(ctx, entries); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err() // of the connection only its consequence is seen
			}
			for _, i := range at {
				f.Retry(i, fmt.Errorf("send to fluent: %w", err))
			}
		}
	}
	return f.Err(func(err error) error { return err })
}

func (o *output) send(ctx context.Context, entries protocol.EntryList) error {
	conn, err := tlsclient.Dial(ctx, o.network, o.address, o.tls)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if !o.key.IsZero() {
		if err := handshake(conn, o.host, o.key.Reveal()); err != nil {
			return err
		}
	}
	// No time limit of its own: that would take the place of the deadline above.
	c := &client.Client{ConnectionFactory: made{conn}, RequireAck: true}
	if err := c.Connect(); err != nil {
		return described(err)
	}
	return described(c.SendForward(o.tag, entries))
}

// made gives the library a connection that a context can end.
type made struct{ conn net.Conn }

// New implements client.ConnectionFactory.
func (m made) New() (net.Conn, error) { return m.conn, nil }

// described leaves out what the server says, which may repeat what it was sent.
func described(err error) error {
	if err == nil {
		return nil
	}
	if network, ok := errors.AsType[net.Error](err); ok {
		return network
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server closed the connection without an acknowledgement")
	}
	return errHandshake
}
