package peer

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/sidearmor/sidearmor/schema/policystream"
)

// ErrNotProven is that whoever answers at the sidekick's address has not proven that
// it is a sidekick with the same token.
var ErrNotProven = errors.New("whoever answers at the sidekick's address does not prove that it knows the token")

// dialProven makes a connection, and lets nothing over it that is not a question for
// a proof before that is given.
func (p *Peer) dialProven(ctx context.Context, connect func(context.Context, string, string) (net.Conn, error), network, address string) (net.Conn, error) {
	conn, err := connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = p.ask(conn)
	if !stop() {
		err = errors.Join(err, ctx.Err())
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// ask has whoever is at the other end prove that it knows the token.
func (p *Peer) ask(conn net.Conn) error {
	token, err := p.token.read()
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(proofTimeout)); err != nil {
		return err
	}
	nonce := policystream.NewNonce()
	text, err := get(conn, p.URL(policystream.ProofPath)+"?nonce="+url.QueryEscape(nonce))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotProven, err)
	}
	var a policystream.Answer
	if json.Unmarshal(text, &a) != nil || !a.By(token, nonce) {
		return ErrNotProven
	}
	if err := reached(conn.RemoteAddr(), a.At); err != nil {
		return fmt.Errorf("%w: %w", ErrNotProven, err)
	}
	return nil
}

// get makes one request on a connection that is kept.
func get(conn net.Conn, address string) ([]byte, error) {
	const most = 16 << 10
	request, err := http.NewRequest(http.MethodGet, address, http.NoBody) //nolint:noctx // the connection has the deadline
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "sidearmor-tracer")
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(io.LimitReader(conn, 2*most))
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d", response.StatusCode)
	case response.Close || reader.Buffered() > 0:
		return nil, errors.New("the connection cannot be used further")
	}
	return text, nil
}

// reached checks the address that the sidekick says it was reached at. Of this
// machine's own there is one listener only: an other address is that of a sidekick
// to which the question was carried on. Elsewhere addresses may be translated.
func reached(remote net.Addr, at string) error {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return nil
	}
	own, err := netip.ParseAddrPort(at)
	want := tcp.AddrPort()
	if err != nil || own.Port() != want.Port() || own.Addr().Unmap() != want.Addr().Unmap() {
		return fmt.Errorf("the sidekick that does was reached at %q, and not at %s", at, want)
	}
	return nil
}
