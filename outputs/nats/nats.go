// Package nats publishes events to a NATS server, one message with the event's
// JSON for each, by core NATS or to a JetStream stream. It makes no connection
// before the first delivery, makes no streams, and does not retry.
package nats

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
)

// backstop ends a delivery whose context has no deadline.
const backstop = time.Minute

// Kind is the NATS output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "nats",
		Block:   "nats",
		Enabler: "hostport",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "hostport", Secret: true, Usage: "nats://host:port or tls://host:port, several separated by commas; user:password@ or token@ before the host; turns the output on"},
			{Key: "subjecttemplate", Default: "falco.<priority>.<rule>", Usage: "subject; <priority>, <rule>, <kind>, <action> and <namespace> stand for those of the event"},
			{Key: "credsfile", Usage: "file with a user's JWT and nkey seed, as nsc writes it"},
			{Key: "jetstream", Default: "false", Usage: "true publishes to a stream, which must exist, and waits until it has stored each event"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: 500,
			BatchBytes:  2 << 20,
			BatchDelay:  200 * time.Millisecond,
			Timeout:     10 * time.Second,
		},
		New: newOutput,
	}
}

// output keeps its connection until a delivery fails. The next delivery then
// makes a new one: the library's own reconnecting would hold messages back in
// memory and send them behind newer ones.
type output struct {
	settings settings
	conn     *nats.Conn
	closed   chan struct{}       // closed when the connection is lost
	stream   jetstream.JetStream // nil for core NATS
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	s, err := parse(v)
	if err != nil {
		return nil, err
	}
	return &output{settings: s}, nil
}

// Deliver implements outputs.Output. With core NATS, delivered means that the
// server has the message: it goes to whoever is subscribed at that moment.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, backstop)
	defer cancel()
	if err := o.open(ctx); err != nil {
		return o.failed("connect to NATS", err)
	}
	var f outputs.Failures
	messages := o.messages(batch, &f)
	if o.stream != nil {
		o.store(ctx, messages, &f)
	} else if err := o.publish(ctx, messages, &f); err != nil {
		return o.failed("publish to NATS", err)
	}
	if f.Again != nil {
		_ = o.Close()
	}
	return o.result(&f, len(batch))
}

// message is one event as it is sent.
type message struct {
	*nats.Msg
	index int // in the batch
}

func (o *output) messages(batch []schema.Event, f *outputs.Failures) []message {
	list := make([]message, 0, len(batch))
	for i := range batch {
		body, err := batch[i].Body()
		if err != nil {
			f.Refuse(i, err)
			continue
		}
		m := nats.NewMsg(o.settings.subject.of(&batch[i]))
		m.Data = clip.JSON(body, int(max(o.conn.MaxPayload()-headerBytes, minBody)))
		// With JetStream this is also what a stream recognises a message by that
		// it has already.
		m.Header.Set(nats.MsgIdHdr, headerValue(batch[i].ID))
		list = append(list, message{Msg: m, index: i})
	}
	return list
}

// publish hands messages to the server and waits until it has read them all.
func (o *output) publish(ctx context.Context, messages []message, f *outputs.Failures) error {
	for _, m := range messages {
		err := o.conn.PublishMsg(m.Msg)
		switch {
		case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject):
			f.Refuse(m.index, err)
		case err != nil:
			return err
		}
	}
	if err := o.conn.FlushWithContext(ctx); err != nil {
		return err
	}
	// The server says of no message that it took it, only of some that it did
	// not, and it does so before it answers the flush.
	return o.conn.LastError()
}

// store publishes to a stream and waits for its word about each message.
func (o *output) store(ctx context.Context, messages []message, f *outputs.Failures) {
	acks := make([]jetstream.PubAckFuture, len(messages))
	for i, m := range messages {
		ack, err := o.stream.PublishMsgAsync(m.Msg)
		if err != nil {
			note(f, m.index, err)
			continue
		}
		acks[i] = ack
	}
	for i, ack := range acks {
		if ack == nil {
			continue
		}
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			note(f, messages[i].index, err)
		case <-o.closed: // no word will come any more
			note(f, messages[i].index, nats.ErrConnectionClosed)
		case <-ctx.Done():
			note(f, messages[i].index, ctx.Err())
		}
	}
}

// open connects, unless there is a connection that works.
func (o *output) open(ctx context.Context) error {
	if o.conn != nil && o.conn.IsConnected() {
		return nil
	}
	_ = o.Close()
	if err := ctx.Err(); err != nil {
		return err
	}
	dialer := &contextDialer{ctx: ctx}
	defer dialer.done()
	closed := make(chan struct{})
	conn, err := nats.Connect(o.settings.servers.Reveal(), append(o.settings.options(),
		nats.SetCustomDialer(dialer), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		return errors.Join(ctx.Err(), err, dialer.err)
	}
	if o.settings.jetstream {
		stream, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(Kind().Limits.BatchEvents+1))
		if err != nil {
			conn.Close()
			return err
		}
		o.stream = stream
	}
	o.conn, o.closed = conn, closed
	return nil
}

// Close ends the connection. The output can be used again.
func (o *output) Close() error {
	if o.conn != nil {
		o.conn.Close()
		o.conn, o.stream = nil, nil
	}
	return nil
}

// contextDialer lets a context end the making of a connection, which the
// library can bound in time only.
type contextDialer struct {
	ctx   context.Context
	stops []func() bool
	err   error // why the last one was not made; the library does not tell
}

// Dial implements nats.CustomDialer.
func (d *contextDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(d.ctx, network, address)
	if d.err = err; err != nil {
		return nil, err
	}
	d.stops = append(d.stops, context.AfterFunc(d.ctx, func() { _ = conn.Close() }))
	return conn, nil
}

// done lets connections outlive the context.
func (d *contextDialer) done() {
	for _, stop := range d.stops {
		stop()
	}
}
