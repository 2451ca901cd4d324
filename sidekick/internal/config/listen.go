package config

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Where FalcoSidekick expects the server's certificate, and its second port.
const (
	defaultCertFile  = "/etc/certs/server/server.crt"
	defaultKeyFile   = "/etc/certs/server/server.key"
	defaultCAFile    = "/etc/certs/server/ca.crt"
	defaultPlainPort = 2810
)

// maxSocketPath leaves room, of the 107 bytes that an address has (unix(7)), for
// the directory in which the socket is made before it is moved to its place.
const maxSocketPath = 80

// defaultSocketMode lets the owner and the group connect: connecting is writing
// (unix(7)).
const defaultSocketMode = "0660"

// Listen says where the sidekick is reached, and how.
type Listen struct {
	Address  string      // IP address; "" for no TCP
	Port     int         // 0 for any free one
	Default  bool        // nobody gave an address, so it is the loopback one
	Open     bool        // whoever can connect may post, as LISTEN_INSECURE asks for
	insecure bool        // LISTEN_INSECURE is set
	Socket   string      // path of a Unix socket; "" for none
	Mode     os.FileMode // of its file: who can write to it can connect
	Tokens   Tokens      // who may do what
	TLS      *TLS        // of Address; nil for none
}

// TLS is how the sidekick shows who it is, and asks who others are.
type TLS struct {
	CertFile, KeyFile string
	CAFile            string   // of those whose clients are let in; "" to let all in
	PlainPaths        []string // served without TLS instead, at PlainPort of the same address
	PlainPort         int
}

// Endpoint is where a sidekick is reached from its own machine.
type Endpoint struct {
	Network  string // tcp or unix
	Address  string
	CertFile string // that it shows; "" without TLS
	Mutual   bool   // it asks for a certificate
}

func (l *loader) socket() string {
	v := l.get("listensocket")
	switch path := strings.TrimPrefix(v.text, "unix://"); {
	case path == "":
		return ""
	case !strings.HasPrefix(path, "/"):
		l.problem("%s: %q is not an absolute path", v.name, v.text)
	case len(path) > maxSocketPath:
		l.problem("%s: the path has %d bytes, at most %d are possible", v.name, len(path), maxSocketPath)
	default:
		return path
	}
	return ""
}

// socketMode is the mode of the socket's file. The owner can always connect.
func (l *loader) socketMode() os.FileMode {
	v, _ := l.given("listensocket_mode")
	mode, err := strconv.ParseUint(v.text, 8, 32)
	if err != nil || mode > 0o777 || mode&0o600 != 0o600 {
		l.problem("%s: %q is not a mode such as 0660 or 0666", v.name, v.text)
	}
	return os.FileMode(mode)
}

func (l *loader) tls() *TLS {
	if !l.boolean("tlsserver.deploy") {
		l.withoutEffect("there is no TLS without TLSSERVER_DEPLOY", "tlsserver.certfile", "tlsserver.keyfile", "tlsserver.mutualtls",
			"tlsserver.cacertfile", "tlsserver.notlsport", "tlsserver.notlspaths")
		return nil
	}
	t := &TLS{CertFile: l.text("tlsserver.certfile"), KeyFile: l.text("tlsserver.keyfile"), PlainPort: l.port("tlsserver.notlsport")}
	if l.boolean("tlsserver.mutualtls") {
		t.CAFile = l.text("tlsserver.cacertfile")
	}
	v := l.get("tlsserver.notlspaths")
	for path := range strings.SplitSeq(v.text, ",") {
		if path = strings.TrimSpace(path); path == "" {
			continue
		}
		switch {
		case !strings.HasPrefix(path, "/"):
			l.problem("%s: %q is no path, it must begin with /", v.name, path)
		case !slices.Contains(l.plainPaths, path):
			l.problem("%s: %s is not served without TLS, only %s are", v.name, path, strings.Join(l.plainPaths, ", "))
		}
		t.PlainPaths = append(t.PlainPaths, path)
	}
	return t
}

// Probe gives where a sidekick with these settings answers on its own machine.
// It looks at no other settings than those of listening.
func Probe(in Input) (Endpoint, error) {
	l, err := newLoader(in)
	if err != nil {
		return Endpoint{}, err
	}
	l.problems = nil // what is wrong elsewhere is the server's to say
	n := l.listen()
	switch t := n.TLS; {
	case len(l.problems) > 0:
		return Endpoint{}, errors.Join(l.problems...)
	case n.Address == "":
		return Endpoint{Network: "unix", Address: n.Socket}, nil
	case t != nil && slices.Contains(t.PlainPaths, "/healthz"):
		return Endpoint{Network: "tcp", Address: nearby(n.Address, t.PlainPort)}, nil
	case t != nil:
		return Endpoint{Network: "tcp", Address: nearby(n.Address, n.Port), CertFile: t.CertFile, Mutual: t.CAFile != ""}, nil
	}
	return Endpoint{Network: "tcp", Address: nearby(n.Address, n.Port)}, nil
}

// nearby is how what listens at address is reached from its machine.
func nearby(address string, port int) string {
	ip := netip.MustParseAddr(address)
	switch {
	case ip.IsUnspecified() && ip.Is6():
		address = "::1"
	case ip.IsUnspecified():
		address = defaultAddress
	}
	return net.JoinHostPort(address, strconv.Itoa(port))
}
