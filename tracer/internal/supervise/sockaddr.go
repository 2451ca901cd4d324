package supervise

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// maxSockaddr is sizeof(struct sockaddr_storage): the kernel takes no more.
const maxSockaddr = 128

// sockaddr is the address that a call was given, decoded.
type sockaddr struct {
	raw    []byte // as the kernel would copy it
	family string // "AF_INET", "AF_INET6", "AF_UNIX", …; "" when there is nothing to tell
	ip     netip.Addr
	port   uint16
	path   string // AF_UNIX; an abstract name begins with "@"
}

// readSockaddr reads the address at addr. The error of one that is too long is the
// kernel's.
func readSockaddr(c *call, addr, size uint64) (sockaddr, error) {
	length := int(int32(size))
	if length < 0 || length > maxSockaddr {
		return sockaddr{}, unix.EINVAL
	}
	raw := make([]byte, length)
	if err := c.process.ReadMemory(c.TID, addr, raw); err != nil {
		return sockaddr{}, err
	}
	to := decodeSockaddr(raw)
	to.raw = raw
	return to, nil
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

// remote is the address as rules name it: the one that it stands for.
func (a *sockaddr) remote() netip.Addr {
	ip := a.ip.Unmap().WithZone("")
	switch {
	case !ip.IsUnspecified():
		return ip
	case ip.Is4(): // whoever connects to no address connects to itself
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
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
	case unix.AF_INET:
		return "AF_INET"
	case unix.AF_INET6:
		return "AF_INET6"
	case unix.AF_UNIX:
		return "AF_UNIX"
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

// describe writes Resource and Data as KubeArmor does: a TCP connection by its
// probe's fields, any other use by the system call's, for which data is empty.
func (a *sockaddr) describe(protocol string, call syscalls.ID) (resource, data string) {
	port := strconv.Itoa(int(a.port))
	probe := "tcp_connect"
	if call == syscalls.Accept || call == syscalls.Accept4 {
		probe = "tcp_accept"
	}
	switch {
	case a.ip.IsValid() && protocol == "TCP" && call != syscalls.Bind:
		return "remoteip=" + a.ip.Unmap().String() + " port=" + port + " protocol=TCP", "kprobe=" + probe + " domain=" + a.family
	case a.ip.IsValid():
		resource = "sa_family=" + a.family + " sin_port=" + port + " sin_addr=" + a.ip.Unmap().String()
	case a.family == "AF_UNIX":
		resource = "sa_family=AF_UNIX sun_path=" + a.path
	default:
		resource = "sa_family=" + a.family
	}
	return resource, ""
}
