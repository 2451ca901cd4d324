package rules

import "strings"

// token is a word that a network rule can name: a protocol, a socket type, or
// all. The zero token is none of them.
type token int

const (
	none token = iota
	all
	tcp
	udp
	icmp
	icmpv6
	sctp
	stream
	dgram
	raw
	rdm
	seqpacket
	dccp
	packet
	tokens
)

// spell gives the words of policies.
var spell = [tokens]string{
	all: "all", tcp: "tcp", udp: "udp", icmp: "icmp", icmpv6: "icmpv6", sctp: "sctp",
	stream: "stream", dgram: "dgram", raw: "raw", rdm: "rdm", seqpacket: "seqpacket", dccp: "dccp", packet: "packet",
}

func parseToken(word string, from, to token) token {
	for t := from; t <= to; t++ {
		if strings.EqualFold(word, spell[t]) {
			return t
		}
	}
	return none
}

// networkRules are the rules about sockets. The ranks are KubeArmor's: type of
// a source, protocol of a source, type, protocol. KubeArmor expands "all" to
// all types, so it stands with the types.
type networkRules struct {
	class
	nodes [tokens]node
}

func (n *networkRules) decide(a *Access) Verdict {
	if !n.used {
		return Verdict{}
	}
	kind, protocol, internet := socket(a)
	types := n.at(kind, a)
	everything := n.at(all, a)
	protocols := n.at(protocol, a)
	var j judgement
	for _, h := range []*hit{
		{types.from.enforced, everything.from.enforced},
		{protocols.from.enforced},
		{types.any.enforced, everything.any.enforced},
		{protocols.any.enforced},
	} {
		if !h.empty() {
			j = h.judge(a)
			break
		}
	}
	var audit *rule
	if !internet {
		protocols = place{}
	}
	for _, p := range [...]place{types, everything, protocols} {
		audit = first(audit, p.any.audits, a)
		audit = first(audit, p.from.audits, a)
	}
	v := n.conclude(j, audit)
	switch a.Operation {
	case NetworkAccept:
		if !v.Deny && !j.decided && audit == nil {
			return Verdict{} // that the list lacks the protocol was told when the socket listened
		}
	case NetworkSend:
		if !v.Deny {
			return Verdict{} // one alert a datagram would say no more than that of the socket
		}
	}
	return v
}

// concerns gives the operations that are ever about sockets of the token.
func (t token) concerns() Operation {
	switch t {
	case tcp, stream, dccp:
		return Network | NetworkAccept
	case udp, icmp, icmpv6, dgram, raw, rdm, packet:
		return Network | NetworkSend
	}
	return sockets
}

// place is the rules of one token that an access may meet.
type place struct{ any, from bucket }

func (n *networkRules) at(t token, a *Access) place {
	if t == none || t.concerns()&a.Operation == 0 {
		return place{}
	}
	p := place{any: n.nodes[t].any}
	if b := n.nodes[t].from[a.Source]; b != nil {
		p.from = *b
	}
	return p
}

// socket reads the type and the protocol of an access as KubeArmor does, which
// ignores the family: protocol 0 of a stream socket is TCP, of a datagram socket
// UDP, of a seqpacket socket SCTP, and a Unix or netlink socket has protocol 0.
// Where only one of the two is told it completes the other. KubeArmor's alerts do
// look at the family: a protocol's Audit rules are about Internet sockets only.
func socket(a *Access) (kind, protocol token, internet bool) {
	word, _, _ := strings.Cut(a.SockType, "|")
	kind = parseToken(withoutPrefix(word, "SOCK_"), stream, packet)
	protocol = parseToken(a.Protocol, tcp, sctp)
	if kind == none && protocol == none { // RAW, UNIX-STREAM
		kind = parseToken(withoutPrefix(a.Protocol, "UNIX-"), stream, packet)
	}
	switch {
	case protocol == tcp && kind == none:
		kind = stream
	case protocol == udp && kind == none:
		kind = dgram
	case protocol != none:
	case strings.EqualFold(a.Protocol, "IPV6-ICMP"):
		protocol = icmpv6
	case !isZero(a.Protocol):
	case kind == stream:
		protocol = tcp
	case kind == dgram:
		protocol = udp
	}
	return kind, protocol, !isUnnamed(a.Protocol)
}

// isZero says whether a protocol is number 0, which KubeArmor calls HOPOPT.
func isZero(protocol string) bool {
	return isUnnamed(protocol) || strings.EqualFold(protocol, "HOPOPT")
}

// isUnnamed says whether a protocol is that of a family without any.
func isUnnamed(protocol string) bool {
	return protocol == "" || len(protocol) > 5 && strings.EqualFold(protocol[:5], "UNIX-")
}

func withoutPrefix(word, prefix string) string {
	if len(word) > len(prefix) && strings.EqualFold(word[:len(prefix)], prefix) {
		return word[len(prefix):]
	}
	return word
}
