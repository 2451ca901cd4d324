package supervise

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// maxSockaddr is sizeof(struct sockaddr_storage): the kernel takes no more.
const maxSockaddr = 128

// connect answers connect.
func (s *Supervisor) connect(c *engine.Call, p *process.Process) engine.Answer {
	addr, err := readSockaddr(c, p)
	if err != nil {
		return s.unknown(c, p, err)
	}
	if addr.family == "" {
		return engine.Answer{} // AF_UNSPEC undoes a connection; what is malformed the kernel refuses
	}
	sock, err := socketOf(c, p)
	if err != nil && s.Rules().CanDeny(rules.Network) {
		return s.unknown(c, p, err)
	}
	a := rules.Access{Operation: rules.Network, HasTTY: hasTTY(p), Protocol: sock.protocol, SockType: sock.kind}
	if a.Source, err = s.source(c, p); err != nil {
		return s.unknown(c, p, err)
	}
	v := s.Rules().Decide(&a)
	if !v.Deny && !s.reported(v, rules.Network) {
		return engine.Answer{}
	}
	if !c.StillHeld() {
		return engine.Answer{}
	}
	result := schema.ResultPassed
	if v.Deny {
		result = schema.ResultPermissionDenied
	}
	r := s.record(p, c)
	r.Operation = schema.OperationNetwork
	r.Source = commandLine(p)
	r.Resource, r.Data = addr.describe(c, sock.protocol)
	s.report(r, v, result)
	if v.Deny {
		return engine.Answer{Errno: unix.EACCES}
	}
	return engine.Answer{}
}

// sockaddr is the address of a connect, decoded.
type sockaddr struct {
	family string // "AF_INET", "AF_INET6", "AF_UNIX", …; "" when there is nothing to tell
	ip     netip.Addr
	port   uint16
	path   string // AF_UNIX; an abstract name begins with "@"
}

func readSockaddr(c *engine.Call, p *process.Process) (sockaddr, error) {
	length := int(int32(c.Args[c.Spec.Addr+1]))
	if length < 2 || length > maxSockaddr {
		return sockaddr{}, nil
	}
	raw := make([]byte, length)
	if err := p.ReadMemory(c.TID, c.Args[c.Spec.Addr], raw); err != nil {
		return sockaddr{}, err
	}
	return decodeSockaddr(raw), nil
}

// decodeSockaddr decodes an address as connect(2) takes it.
func decodeSockaddr(raw []byte) sockaddr {
	if len(raw) < 2 {
		return sockaddr{}
	}
	switch family := binary.NativeEndian.Uint16(raw); {
	case family == unix.AF_UNSPEC:
		return sockaddr{}
	case family == unix.AF_INET && len(raw) >= 8:
		return sockaddr{family: "AF_INET", port: binary.BigEndian.Uint16(raw[2:]), ip: netip.AddrFrom4([4]byte(raw[4:8]))}
	case family == unix.AF_INET6 && len(raw) >= 24:
		return sockaddr{family: "AF_INET6", port: binary.BigEndian.Uint16(raw[2:]), ip: netip.AddrFrom16([16]byte(raw[8:24]))}
	case family == unix.AF_UNIX:
		return sockaddr{family: "AF_UNIX", path: unixPath(raw[2:])}
	case family == unix.AF_INET || family == unix.AF_INET6:
		return sockaddr{} // too short: EINVAL
	default:
		return sockaddr{family: familyName(family)}
	}
}

// unixPath reads sun_path: up to the first NUL, or for an abstract name, which
// begins with one, all of it (unix(7)).
func unixPath(raw []byte) string {
	if len(raw) > 0 && raw[0] == 0 {
		return "@" + strings.ReplaceAll(string(raw[1:]), "\x00", "@")
	}
	name, _, _ := strings.Cut(string(raw), "\x00")
	return name
}

func familyName(family uint16) string {
	switch family {
	case unix.AF_NETLINK:
		return "AF_NETLINK"
	case unix.AF_PACKET:
		return "AF_PACKET"
	case unix.AF_VSOCK:
		return "AF_VSOCK"
	case unix.AF_ALG:
		return "AF_ALG"
	}
	return strconv.Itoa(int(family))
}

// describe writes Resource and Data as KubeArmor does: a TCP connect by its
// probe's fields, any other by the system call's.
func (a sockaddr) describe(c *engine.Call, protocol string) (resource, data string) {
	port := strconv.Itoa(int(a.port))
	switch {
	case a.ip.IsValid() && protocol == "TCP":
		return "remoteip=" + a.ip.Unmap().String() + " port=" + port + " protocol=TCP", "kprobe=tcp_connect domain=" + a.family
	case a.ip.IsValid():
		resource = "sa_family=" + a.family + " sin_port=" + port + " sin_addr=" + a.ip.Unmap().String()
	case a.family == "AF_UNIX":
		resource = "sa_family=AF_UNIX sun_path=" + a.path
	default:
		resource = "sa_family=" + a.family
	}
	return resource, c.Spec.Data(&c.Args, 0)
}
