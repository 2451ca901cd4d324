package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxPeers bounds KUBEARMOR_GRPC: each costs connections and memory.
const maxPeers = 16

// GRPC says where events are shown to readers of KubeArmor's.
type GRPC struct {
	Address string // IP address, or none for all, and port; "" for nowhere
	Open    bool   // whoever can connect may read, as LISTEN_INSECURE asks for

	Policies string // PoliciesAdmin, PoliciesOpen or PoliciesOff
}

// Who may change and see policies over gRPC.
const (
	PoliciesAdmin = "admin" // who shows a token of AUTH_TOKEN_ADMIN, or a certificate
	PoliciesOpen  = "open"  // whoever can connect, as karmor, which can show neither
	PoliciesOff   = "off"   // nobody
)

// KubeArmor says where events are taken from.
type KubeArmor struct {
	Peers []string // host:port; none when nothing is taken
	Logs  bool     // whether logs are taken, and not alerts alone
	TLS   *PeerTLS // nil for none
}

// PeerTLS is how peers are known, and how they know the sidekick.
type PeerTLS struct {
	CAFile            string // of those who certify the peers; "" for those whom everybody trusts
	CertFile, KeyFile string // "" for no certificate of its own
}

// grpc looks GRPC_LISTEN up. Who is trusted is as with HTTP.
func (l *loader) grpc(n Listen) GRPC {
	v := l.get("grpc.listen")
	if v.text == "" {
		l.withoutEffect("gRPC is not served without GRPC_LISTEN", "grpc.policies")
		return GRPC{}
	}
	host, port, err := net.SplitHostPort(v.text)
	if err != nil {
		l.problem("%s: %q is not address:port, such as %s:32767", v.name, v.text, defaultAddress)
		return GRPC{}
	}
	if host == "localhost" {
		host = defaultAddress
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" {
		l.problem("%s: %q is not an IP address", v.name, host)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		l.problem("%s: %q is not a port, use 0 (any free one) to 65535", v.name, port)
	}
	g := GRPC{Address: net.JoinHostPort(host, port)}
	known := n.Tokens.Post.Set() || n.Tokens.Read.Set() || n.TLS != nil && n.TLS.CAFile != ""
	g.Open = !known && (host == "" || !isLoopback(host))
	if g.Open && !n.insecure {
		l.problem("%s: at %s anybody who can connect could read events: %s", v.name, g.Address, howToTrust)
	}
	l.grpcPolicies(&g, !n.insecure && (host == "" || !isLoopback(host)))
	return g
}

// grpcPolicies looks up who may change policies. Where strangers could, it must be said
// that they may.
func (l *loader) grpcPolicies(g *GRPC, strangers bool) {
	if g.Policies = l.choice("grpc.policies"); g.Policies == PoliciesOpen && strangers {
		l.problem("%s: at %s anybody who can connect could change policies: listen at a loopback address, or set LISTEN_INSECURE=true",
			l.peek("grpc.policies"), g.Address)
	}
}

func (l *loader) kubeArmor(own GRPC) KubeArmor {
	v := l.get("kubearmor.grpc")
	var k KubeArmor
	for peer := range strings.SplitSeq(v.text, ",") {
		if peer = strings.TrimSpace(peer); peer == "" {
			continue
		}
		switch problem := own.unfit(peer); {
		case problem != "":
			l.problem("%s: %q %s", v.name, peer, problem)
		case slices.Contains(k.Peers, peer):
			l.problem("%s: %q is given twice", v.name, peer)
		}
		k.Peers = append(k.Peers, peer)
	}
	if len(k.Peers) > maxPeers {
		l.problem("%s: has %d peers, at most %d are possible", v.name, len(k.Peers), maxPeers)
	}
	if len(k.Peers) == 0 {
		l.withoutEffect("nothing is taken without KUBEARMOR_GRPC", "kubearmor.grpc_logs", "kubearmor.grpc_tls",
			"kubearmor.grpc_cacertfile", "kubearmor.grpc_certfile", "kubearmor.grpc_keyfile")
		return KubeArmor{}
	}
	k.Logs = l.boolean("kubearmor.grpc_logs")
	k.TLS = l.peerTLS()
	return k
}

// unfit says why peer cannot be one. Only what is certain is recognised as the
// sidekick itself; what it took from there it would show there again, for ever.
func (g GRPC) unfit(peer string) string {
	host, port, err := net.SplitHostPort(peer)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 || strings.ContainsAny(host, "/@ \t") {
		return "is not host:port"
	}
	at, ownPort, err := net.SplitHostPort(g.Address)
	if err != nil || port != ownPort {
		return ""
	}
	ip, _ := netip.ParseAddr(host)
	if host == "localhost" || host == at || ip.Unmap().IsLoopback() {
		return "is this sidekick itself, by GRPC_LISTEN"
	}
	return ""
}

func (l *loader) peerTLS() *PeerTLS {
	if !l.boolean("kubearmor.grpc_tls") {
		l.withoutEffect("there is no TLS without KUBEARMOR_GRPC_TLS", "kubearmor.grpc_cacertfile", "kubearmor.grpc_certfile", "kubearmor.grpc_keyfile")
		return nil
	}
	text := func(path string) (string, string) {
		v := l.get(path)
		return v.text, v.name
	}
	t := &PeerTLS{}
	t.CAFile, _ = text("kubearmor.grpc_cacertfile")
	var cert, key string
	t.CertFile, cert = text("kubearmor.grpc_certfile")
	t.KeyFile, key = text("kubearmor.grpc_keyfile")
	if (t.CertFile == "") != (t.KeyFile == "") {
		l.problem("%s and %s: one is of no use without the other", cert, key)
		return t
	}
	if _, err := t.Config(); err != nil {
		l.problems = append(l.problems, err)
	}
	return t
}

// Config reads the files. Errors name the variable.
func (t *PeerTLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("KUBEARMOR_GRPC_CACERTFILE: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("KUBEARMOR_GRPC_CACERTFILE: %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("KUBEARMOR_GRPC_CERTFILE and KUBEARMOR_GRPC_KEYFILE: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
