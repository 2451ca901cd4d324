package syslog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
)

// maxTalk is how much a server may send, which is expected to say nothing.
const maxTalk = 64 << 10

// send says how many of the messages need not be sent again.
//
// Each batch has a connection of its own. Syslog has no acknowledgement, and what
// is written to a connection that just broke is lost without an error. But a
// server closes its side when it has read to the end of ours, so that waiting for
// it tells that it has read everything.
func (o *output) send(ctx context.Context, messages [][]byte) (sent int, err error) {
	if len(messages) == 0 {
		return 0, nil
	}
	conn, err := o.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if o.protocol == protocolUDP {
		for i, m := range messages {
			if _, err := conn.Write(m); err != nil {
				return i, err
			}
		}
		return len(messages), nil
	}
	w := bufio.NewWriterSize(conn, 32<<10)
	for _, m := range messages {
		// Octet counting (RFC 6587 3.4.1, RFC 5425 4.3).
		_, _ = w.WriteString(strconv.Itoa(len(m)) + " ") // Flush gives the error
		_, _ = w.Write(m)
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	if err := confirm(conn); err != nil {
		return 0, err
	}
	return len(messages), nil
}

func (o *output) dial(ctx context.Context) (net.Conn, error) {
	network := protocolTCP
	if o.protocol == protocolUDP {
		network = protocolUDP
	}
	return tlsclient.Dial(ctx, network, o.address, o.tls)
}

// confirm ends our side of the connection and waits for the server to end its
// own.
func confirm(conn net.Conn) error {
	if err := closeWrite(conn); err != nil {
		return fmt.Errorf("end connection: %w", err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(conn, maxTalk))
	switch {
	case err != nil:
		return fmt.Errorf("the server did not close the connection after the last message, so it may not have it: %w", err)
	case n == maxTalk:
		return errors.New("the server talks: it is no syslog server")
	}
	return nil
}

func closeWrite(conn net.Conn) error {
	if secure, ok := conn.(*tls.Conn); ok {
		if err := secure.CloseWrite(); err != nil {
			return err
		}
		conn = secure.NetConn()
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
