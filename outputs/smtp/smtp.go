// Package smtp sends events as mails by a mail server. It does not retry, and receives
// nothing.
package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Kind is the SMTP output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "smtp",
		Block:   "smtp",
		Enabler: "hostport",
		Logs:    false,
		Digests: true,
		Settings: append([]outputs.Setting{
			{Key: "hostport", Usage: "host:port of the mail server; turns the output on"},
			{Key: "tls", Default: "true", Usage: "whether to encrypt: from the start at port 465, else by STARTTLS, without which no mail is sent then"},
			{Key: "authmechanism", Default: "plain", Usage: "plain, oauthbearer, external, anonymous or none; plain without a user is none"},
			{Key: "user", Usage: "name to authenticate with"},
			{Key: "password", Secret: true, Usage: "password that belongs to the name"},
			{Key: "token", Secret: true, Usage: "token for oauthbearer"},
			{Key: "identity", Usage: "identity for plain and external"},
			{Key: "trace", Usage: "text for anonymous"},
			{Key: "from", Usage: "address of the sender"},
			{Key: "to", Usage: "addresses of the recipients, separated by commas"},
			{Key: "outputformat", Default: formatHTML, Usage: "html, with the text beside it, or text"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{BatchEvents: 1, Timeout: 30 * time.Second},
		New:    newOutput,
	}
}

// implicitPort is where servers encrypt from the start (RFC 8314).
const implicitPort = "465"

type output struct {
	address, host, port string
	tls                 *tls.Config // nil for no TLS
	auth                func() sasl.Client
	from                string
	to                  []string
	html                bool
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	o := &output{address: v.String("hostport")}
	var err error
	if o.host, o.port, err = net.SplitHostPort(o.address); err != nil || o.host == "" || o.port == "" {
		return nil, fmt.Errorf("%s: %q is not host:port", v.Name("hostport"), o.address)
	}
	from, err := mail.ParseAddress(v.String("from"))
	if err != nil {
		return nil, fmt.Errorf("%s: %q is not a mail address", v.Name("from"), v.String("from"))
	}
	to, err := mail.ParseAddressList(v.String("to"))
	if err != nil {
		return nil, fmt.Errorf("%s: %q is no list of mail addresses", v.Name("to"), v.String("to"))
	}
	o.from = from.Address
	for _, a := range to {
		o.to = append(o.to, a.Address)
	}
	switch v.String("outputformat") {
	case formatHTML, formatText:
		o.html = v.String("outputformat") == formatHTML
	default:
		return nil, fmt.Errorf("%s: %q is neither html nor text", v.Name("outputformat"), v.String("outputformat"))
	}
	if err := o.setAuth(v); err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	encrypted, err := outputs.Bool(v, "tls")
	if err != nil || !encrypted {
		return o, err
	}
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config.ServerName, o.tls = o.host, config
	return o, nil
}

func (o *output) setAuth(v outputs.Values) error {
	user, identity, trace := v.String("user"), v.String("identity"), v.String("trace")
	password, token := secret.New(v.String("password")), secret.New(v.String("token"))
	switch mechanism := strings.ToLower(v.String("authmechanism")); {
	case mechanism == "none", mechanism == "plain" && user == "" && password.IsZero():
	case mechanism == "plain":
		if user == "" || password.IsZero() {
			return fmt.Errorf("%s and %s: give both or none", v.Name("user"), v.Name("password"))
		}
		o.auth = func() sasl.Client { return sasl.NewPlainClient(identity, user, password.Reveal()) }
	case mechanism == "oauthbearer":
		if token.IsZero() {
			return fmt.Errorf("%s: oauthbearer needs one", v.Name("token"))
		}
		o.auth = func() sasl.Client {
			return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: token.Reveal(), Host: o.host})
		}
	case mechanism == "external":
		o.auth = func() sasl.Client { return sasl.NewExternalClient(identity) }
	case mechanism == "anonymous":
		o.auth = func() sasl.Client { return sasl.NewAnonymousClient(trace) }
	default:
		return fmt.Errorf("%s: %q is none of plain, oauthbearer, external, anonymous, none", v.Name("authmechanism"), v.String("authmechanism"))
	}
	return nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Each(ctx, batch, func(ctx context.Context, e *schema.Event) error {
		return o.send(ctx, o.mail(e))
	})
}

// DeliverDigest implements outputs.Digester.
func (o *output) DeliverDigest(ctx context.Context, d *outputs.Digest) error {
	return o.send(ctx, o.digest(d))
}

// send has a connection for each mail: they are few, and servers end idle ones.
func (o *output) send(ctx context.Context, m message) error {
	config := o.tls
	if o.port != implicitPort {
		config = nil // STARTTLS comes later
	}
	conn, err := tlsclient.Dial(ctx, "tcp", o.address, config)
	if err != nil {
		return failure(ctx, "connect", err, false)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // the client sets deadlines of its own
	defer stop()
	step, err := o.talk(conn, m)
	if err != nil {
		return failure(ctx, step, err, step == "DATA")
	}
	return nil
}

// talk gives the step at which it ended early.
func (o *output) talk(conn net.Conn, m message) (step string, err error) {
	c, step := smtp.NewClient(conn), "STARTTLS"
	if o.tls != nil && o.port != implicitPort {
		if c, err = smtp.NewClientStartTLS(conn, o.tls); err != nil {
			return step, err
		}
	}
	if o.auth != nil {
		if err := c.Auth(o.auth()); err != nil {
			return "AUTH", err
		}
	}
	if err := c.Mail(o.from, nil); err != nil {
		return "MAIL", err
	}
	for _, to := range o.to {
		if err := c.Rcpt(to, nil); err != nil {
			return "RCPT", err
		}
	}
	w, err := c.Data()
	if err != nil {
		return "DATA", err
	}
	if _, err := w.Write(m.encode(o)); err != nil {
		return "DATA", err
	}
	if err := w.Close(); err != nil { // here the server answers
		return "DATA", err
	}
	_ = c.Quit() // the mail has been taken, whatever comes of this
	return "", nil
}

// failure leaves out what the server says, which may repeat what it was sent. A 5xx is
// about the mail only once the server has it: before, credentials, sender and
// recipients are wrong, which is put right.
func failure(ctx context.Context, step string, err error, aboutMail bool) error {
	e := &outputs.Error{Class: outputs.Transient}
	answer, answered := errors.AsType[*smtp.SMTPError](err)
	network, broken := errors.AsType[net.Error](err)
	certificate, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case ctx.Err() != nil:
		e.Err = fmt.Errorf("send mail, %s: %w", step, ctx.Err())
	case answered:
		if aboutMail && answer.Code >= 500 {
			e.Class = outputs.Permanent
		}
		e.Err = fmt.Errorf("send mail, %s: the server answered %d", step, answer.Code)
	case untrusted:
		e.Err = fmt.Errorf("send mail, %s: %w", step, certificate)
	case broken:
		e.Err = fmt.Errorf("send mail, %s: %w", step, network)
	default:
		e.Err = fmt.Errorf("send mail, %s: the server does not answer as SMTP has it, or not encrypted", step)
	}
	return e
}
