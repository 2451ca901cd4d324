package supervise

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
)

const (
	dnsPort   = 53
	dnsHeader = 12
	// maxQuery is more than any query for one name has, with the length that stands
	// before it over TCP.
	maxQuery = 1024
	maxName  = 255 // RFC 1035, 2.3.4
)

// query is a question for a name.
type query struct {
	name string // without its final dot; "" is the root
	kind uint16
}

// decodeQuery reads a DNS query with one question (RFC 1035, 4.1), by itself or with
// its length before it.
func decodeQuery(data []byte) (q query, ok bool) {
	if len(data) > 2 && int(binary.BigEndian.Uint16(data)) == len(data)-2 {
		if q, ok = decodeQuestion(data[2:]); ok {
			return q, true
		}
	}
	return decodeQuestion(data)
}

func decodeQuestion(data []byte) (q query, ok bool) {
	if len(data) < dnsHeader {
		return q, false
	}
	const response, opcode = 0x8000, 0x7800
	flags := binary.BigEndian.Uint16(data[2:])
	questions, answers, authorities := binary.BigEndian.Uint16(data[4:]), binary.BigEndian.Uint16(data[6:]), binary.BigEndian.Uint16(data[8:])
	if flags&(response|opcode) != 0 || questions != 1 || answers != 0 || authorities != 0 {
		return q, false
	}
	var name strings.Builder
	rest := data[dnsHeader:]
	for {
		if len(rest) == 0 || int(rest[0]) >= len(rest) || rest[0] > 63 || name.Len() > maxName {
			return q, false
		}
		label := rest[1 : 1+rest[0]]
		rest = rest[1+len(label):]
		if len(label) == 0 {
			break
		}
		if name.Len() > 0 {
			name.WriteByte('.')
		}
		for _, b := range label {
			if b <= ' ' || b >= 0x7f || b == '.' || b == '\\' {
				name.WriteString("\\" + strconv.Itoa(1000 + int(b))[1:]) // as in zone files
				continue
			}
			name.WriteByte(b)
		}
	}
	if len(rest) < 4 {
		return q, false
	}
	return query{name.String(), binary.BigEndian.Uint16(rest)}, true
}

// asks looks whether a call asks a name server for names, and says whether the rules
// deny one of them. What is in memory can change before the kernel sends it: this is
// about programs that mean no harm to the tracer.
func (w *worker) asks(c *call) (denied bool) {
	if c.Spec.Op&rules.NetworkDNS == 0 || (c.rules.Wants()|w.Visible())&rules.NetworkDNS == 0 {
		return false
	}
	for i := range c.messages() {
		m, err := w.readMessage(c, i)
		if err != nil || m.size < dnsHeader || m.size > maxQuery {
			continue // the kernel says what is wrong
		}
		data, err := m.data(c, 0)
		if err != nil {
			continue
		}
		if q, ok := decodeQuery(data); ok && w.asksFor(c, &m, q) {
			return true
		}
	}
	return false
}

// asksFor asks the rules about a query, if it goes to a name server.
func (w *worker) asksFor(c *call, m *message, q query) (denied bool) {
	sock, err := socketOf(c)
	if err != nil || sock.protocol != "UDP" && sock.protocol != "TCP" {
		return false
	}
	server, known := m.to, m.to.family != ""
	if !known {
		server, known = w.peer(c)
	}
	if known && server.port != dnsPort {
		return false
	}
	a, err := w.networkAccess(c, rules.NetworkDNS, sock)
	if err != nil {
		return true // the rule could be about any program
	}
	a.Name = q.name
	v := c.rules.Decide(a)
	if !c.Hold.Valid() || !w.reported(v, rules.NetworkDNS) {
		return v.Deny
	}
	w.tellBefore(c)
	w.beginReport(c, v)
	r := &c.report
	r.op, r.result = rules.NetworkDNS, predict(!v.Deny)
	if v.Alert {
		r.resource, r.data = q.name, "lsm=SOCKET_SENDMSG domain="+q.name
		return v.Deny
	}
	r.result = schema.ResultPassed
	r.resource, r.data = "sa_family=AF_INET sin_port=53", "kfunc="+sock.protocol+"_SENDSKB domain="+q.name
	if server.family != "" {
		r.resource = "sa_family=" + server.family + " sin_port=53"
		r.data += " daddr=" + server.ip.Unmap().String()
	}
	r.data += " qtype=" + q.kindName()
	return false
}

// peer tells whom the caller's socket is connected to, where the tracer may have the
// socket.
func (w *worker) peer(c *call) (sockaddr, bool) {
	fd, err := c.process.Borrow(c.TID, int(int32(c.Args[c.Spec.FD])))
	if err != nil {
		return sockaddr{}, false
	}
	defer unix.Close(fd)
	switch to, _ := unix.Getpeername(fd); to := to.(type) {
	case *unix.SockaddrInet4:
		return sockaddr{family: "AF_INET", port: uint16(to.Port), ip: netip.AddrFrom4(to.Addr)}, true
	case *unix.SockaddrInet6:
		return sockaddr{family: "AF_INET6", port: uint16(to.Port), ip: netip.AddrFrom16(to.Addr)}, true
	}
	return sockaddr{}, true
}

// kindName is the type of the record that is asked for, a number where it is rare.
func (q *query) kindName() string {
	switch q.kind {
	case 1:
		return "A"
	case 2:
		return "NS"
	case 5:
		return "CNAME"
	case 6:
		return "SOA"
	case 12:
		return "PTR"
	case 15:
		return "MX"
	case 16:
		return "TXT"
	case 28:
		return "AAAA"
	case 33:
		return "SRV"
	case 65:
		return "HTTPS"
	}
	return strconv.Itoa(int(q.kind))
}
