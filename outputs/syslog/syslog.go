// Package syslog delivers events to a syslog server: messages of RFC 5424 over
// TCP, TLS or UDP, with the event as JSON or CEF. It does not speak the older
// form of RFC 3164, and does not retry.
package syslog

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
)

// Kind is the syslog output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "syslog",
		Block:   "syslog",
		Enabler: "host",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "host", Usage: "name or IP address of the server; turns the output on"},
			{Key: "port", Usage: "its port; 514, with tls 6514, when not given"},
			{Key: "protocol", Default: protocolTCP, Usage: "tcp, tls or udp"},
			{Key: "format", Default: formatJSON, Usage: "json or cef"},
			// rsyslog takes 8096 bytes unless it is told otherwise.
			{Key: "maxlength", Default: "8000", Usage: "how many bytes a message may have, 480 to 1000000; longer ones are cut"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{BatchEvents: 500, BatchDelay: time.Second, Timeout: 10 * time.Second},
		New:    newOutput,
	}
}

// Values of protocol and format.
const (
	protocolTCP = "tcp"
	protocolTLS = "tls"
	protocolUDP = "udp"
	formatJSON  = "json"
	formatCEF   = "cef"
)

const (
	minLength   = 480       // what every receiver takes (RFC 5424 6.1)
	maxLength   = 1_000_000 // about the largest event there is
	maxDatagram = 65_507    // of UDP over IPv4
)

type output struct {
	address  string // host:port
	protocol string
	tls      *tls.Config // nil but for protocolTLS
	style
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	o := &output{
		protocol: strings.ToLower(v.String("protocol")),
		style:    style{format: strings.ToLower(v.String("format"))},
	}
	switch o.protocol {
	case protocolTCP, protocolTLS, protocolUDP:
	default:
		return nil, fmt.Errorf("%s: %q is none of tcp, tls, udp", v.Name("protocol"), v.String("protocol"))
	}
	if o.format != formatJSON && o.format != formatCEF {
		return nil, fmt.Errorf("%s: %q is neither json nor cef", v.Name("format"), v.String("format"))
	}
	var err error
	o.limit, err = strconv.Atoi(v.String("maxlength"))
	if err != nil || o.limit < minLength || o.limit > maxLength {
		return nil, fmt.Errorf("%s: %q is not a number of %d to %d", v.Name("maxlength"), v.String("maxlength"), minLength, maxLength)
	}
	if o.protocol == protocolUDP {
		o.limit = min(o.limit, maxDatagram)
	}
	host := strings.Trim(v.String("host"), "[]")
	if o.address, err = address(v, host, o.protocol); err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	if o.protocol == protocolTLS {
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		config.ServerName = host
		o.tls = config
	}
	return o, nil
}

// address joins the host and the port. A port that is an address is none: of a
// service called syslog in the namespace Kubernetes makes SYSLOG_PORT=tcp://…,
// which is not meant for this output.
func address(v outputs.Values, host, protocol string) (string, error) {
	if host == "" || strings.ContainsAny(host, "/ @") {
		return "", fmt.Errorf("%s: %q is no name or IP address", v.Name("host"), host)
	}
	port := v.String("port")
	switch {
	case (port == "" || strings.Contains(port, "://")) && protocol == protocolTLS:
		port = "6514"
	case port == "" || strings.Contains(port, "://"):
		port = "514"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%s: %q is not a port", v.Name("port"), port)
	}
	return net.JoinHostPort(host, port), nil
}

// Deliver implements outputs.Output.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	var messages [][]byte
	var at []int // the events of messages
	var broken error
	var failed []int
	for i := range batch {
		m, err := o.message(&batch[i])
		if err != nil {
			broken, failed = err, append(failed, i)
			continue
		}
		messages, at = append(messages, m), append(at, i)
	}
	if sent, err := o.send(ctx, messages); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // of the connection only its consequence is seen
		}
		return &outputs.Error{
			Class:  outputs.Transient,
			Failed: append(failed, at[sent:]...),
			Err:    fmt.Errorf("send to syslog: %w", err),
		}
	}
	if broken != nil {
		return &outputs.Error{Class: outputs.Permanent, Failed: failed, Err: fmt.Errorf("encode event: %w", broken)}
	}
	return nil
}
