package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// insecurePath is the setting by which a network is trusted as a whole.
const insecurePath = "listen_insecure"

// allAddresses is what FalcoSidekick listens at. The kernel takes connections by
// IPv6 there too.
const allAddresses = "0.0.0.0"

// howToTrust ends an error about an address at which anybody could do something.
const howToTrust = "set AUTH_TOKEN, or TLSSERVER_DEPLOY and TLSSERVER_MUTUALTLS; " +
	"where everybody who can connect is trusted, set LISTEN_INSECURE=true"

// listen finds out where the sidekick is reached. An address that is asked for is
// served, or it is an error: a sidekick that quietly stays on loopback looks healthy
// and gets nothing.
func (l *loader) listen() Listen {
	n := Listen{Socket: l.socket(), Mode: l.socketMode(), Tokens: l.tokens(), TLS: l.tls()}
	address := l.get("listenaddress")
	n.Address = l.address(address)
	n.Port = l.port("listenport")
	n.insecure = l.boolean(insecurePath)
	open := n.openTo()
	switch {
	case address.text != "":
	case n.insecure && open != "":
		n.Address = allAddresses
	case n.Socket != "" && l.peek("listenport") == "" && n.TLS == nil:
		n.Address = ""
	default:
		n.Default = true
	}
	n.Open = open != "" && n.Address != "" && !isLoopback(n.Address)
	if n.Open && !n.insecure {
		l.problem("%s: at %s anybody could post%s: %s", address.name, n.Address, open, howToTrust)
	}
	return n
}

// openTo says where anybody can post who can connect: "" for nowhere, else words to
// follow "anybody could post".
func (n Listen) openTo() string {
	switch {
	case n.Tokens.Post.Set():
		return ""
	case n.TLS == nil:
		return " who can connect"
	case n.TLS.CAFile == "":
		return " who can connect, since TLS alone does not tell who it is"
	}
	return ""
}

// insecureInVain warns of a LISTEN_INSECURE that lets nobody in.
func (l *loader) insecureInVain(c Config) {
	if !c.Listen.insecure || c.Listen.Open || c.GRPC.Open {
		return
	}
	why := "only this machine is served, by LISTENADDRESS"
	if c.Listen.openTo() == "" {
		why = "a token or a certificate is asked for"
	}
	l.off = append(l.off, fmt.Sprintf("%s has no effect: %s", l.peek(insecurePath), why))
}

// Local says whether Address is reached from this machine alone.
func (n Listen) Local() bool { return isLoopback(n.Address) }

func isLoopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err != nil || ip.Unmap().IsLoopback()
}

// address gives what was asked for, or the loopback address.
func (l *loader) address(v value) string {
	if v.text == "" {
		return defaultAddress
	}
	if _, err := netip.ParseAddr(v.text); err != nil {
		l.problem("%s: %q is not an IP address", v.name, v.text)
		return defaultAddress
	}
	return v.text
}

// Exposed tells what anybody can do who can connect, as LISTEN_INSECURE asks for. It
// is said wherever one looks whether all is well.
func (c Config) Exposed() []string {
	var all []string
	if c.Listen.Open {
		at := net.JoinHostPort(c.Listen.Address, strconv.Itoa(c.Listen.Port))
		all = append(all, "LISTEN_INSECURE is set: anybody who can connect to "+at+" may post events")
	}
	if c.GRPC.Open {
		all = append(all, "LISTEN_INSECURE is set: anybody who can connect to "+c.GRPC.Address+" may read events")
	}
	return all
}
