// Package peer is the tracer's way to its sidekick: where it is, whom to trust, what
// to show, and how the sidekick proves who it is. It does not know what is said.
package peer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/sidearmor/sidearmor/schema/secret"
)

const (
	dialTimeout = 5 * time.Second
	// proofTimeout bounds the sidekick's proof on a new connection.
	proofTimeout = 5 * time.Second
)

// Options say where the sidekick is. URL is needed.
type Options struct {
	URL string // http, https or unix (unix:///path), may hold credentials

	Token     secret.String // shown to the sidekick, over what URL has; zero is none
	TokenFile string        // instead of Token: a file with it, read for each request, since it may change

	// Prove has the sidekick prove on each connection that it knows the token, before
	// this or anything else is sent to it. Without a token nothing is asked, and over
	// TLS the certificate is the proof.
	Prove bool

	// TLS, for an https URL: authorities to trust instead of the system's, read at
	// the start; a certificate to show, read for each connection. "" is none.
	CAFile, CertFile, KeyFile string

	Transport http.RoundTripper // nil is the package's own
}

// Peer is the sidekick.
type Peer struct {
	// transport sends the requests. An http.Client would follow redirects, which
	// carry what is sent, and the credentials, elsewhere.
	transport http.RoundTripper
	base      url.URL // without credentials
	user      *url.Userinfo
	token     token
	proves    bool
}

// New makes a Peer. It fails where an address or a file cannot be used; errors repeat
// neither the URL, which may hold a password, nor a token.
func New(o Options) (*Peer, error) {
	u, err := url.Parse(o.URL)
	if err != nil || !usable(u) {
		return nil, errors.New("the sidekick's address is not an http, https or unix URL")
	}
	p := &Peer{base: *u, user: u.User, token: token{text: o.Token, file: o.TokenFile}, transport: o.Transport}
	p.base.User = nil
	if _, err := p.token.read(); err != nil {
		return nil, err
	}
	p.proves = o.Prove && u.Scheme != "https" && p.token != token{}
	if u.Scheme == "unix" {
		p.base = url.URL{Scheme: "http", Host: "localhost", Path: "/"}
	}
	if p.transport == nil {
		p.transport, err = p.newTransport(u, o)
	}
	return p, err
}

func usable(u *url.URL) bool {
	if u.Scheme == "unix" {
		return u.Host == "" && u.Path != ""
	}
	return u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func (p *Peer) newTransport(u *url.URL, o Options) (*http.Transport, error) {
	trust, err := trust(o)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy:              http.ProxyFromEnvironment, // never for loopback
		TLSClientConfig:    trust,
		MaxIdleConns:       1,
		IdleConnTimeout:    90 * time.Second,
		DisableCompression: true,
		WriteBufferSize:    64 << 10,
	}
	connect := dial
	if u.Scheme == "unix" {
		t.Proxy = nil
		connect = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", u.Path)
		}
	}
	if p.proves {
		t.Proxy = nil // it would have to know the token
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			return p.dialProven(ctx, connect, network, address)
		}
		return t, nil
	}
	t.DialContext = connect
	return t, nil
}

// dial does not ask a resolver for localhost: the workload may own /etc/hosts,
// and a scratch image may have none.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "localhost" {
		return d.DialContext(ctx, network, address)
	}
	conn, err := d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		if conn6, err6 := d.DialContext(ctx, network, net.JoinHostPort("::1", port)); err6 == nil {
			return conn6, nil
		}
	}
	return conn, err
}

// Proves says that nothing is sent to a sidekick, or taken from it, that has not
// proven that it knows the token.
func (p *Peer) Proves() bool { return p.proves }

// Secure says that whoever answers is known: by a proof, or by a certificate.
func (p *Peer) Secure() bool { return p.proves || p.base.Scheme == "https" }

// URL gives the address of a path of the sidekick, "" being the one that was given.
func (p *Peer) URL(path string) string {
	if path == "" {
		return p.base.String()
	}
	return p.base.JoinPath(path).String()
}

// Do sends one request, with what the sidekick is shown: that is in the request's
// header afterwards.
func (p *Peer) Do(r *http.Request) (*http.Response, error) {
	shown, err := p.token.read()
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "sidearmor-tracer")
	if password, _ := p.user.Password(); p.user != nil {
		r.SetBasicAuth(p.user.Username(), password)
	}
	if shown != "" {
		r.Header.Set("Authorization", "Bearer "+shown)
	}
	return p.transport.RoundTrip(r)
}

// Close closes connections that are not in use.
func (p *Peer) Close() {
	if t, ok := p.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}
