package supervise

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// socket is what rules know a socket by, in KubeArmor's names.
type socket struct {
	protocol string // TCP, UDP, ICMP, …; "" for families that have none
	kind     string // SOCK_STREAM, SOCK_DGRAM, …
}

// socketOf tells the protocol of a descriptor of the caller. The kernel names it
// in an extended attribute of the socket (net/socket.c, sockfs_xattr_get), which
// unlike pidfd_getfd(2) and SO_PROTOCOL needs no capability that a container
// lacks. A descriptor that is no socket gives the zero socket and no error: the
// kernel fails the call.
func socketOf(c *call) (socket, error) {
	fd := int(int32(c.Args[c.Spec.FD]))
	name, err := protocolName("/proc/" + strconv.Itoa(c.TID) + "/fd/" + strconv.Itoa(fd))
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		// A process of another user: package process may know a way.
		var dup int
		if dup, err = c.process.OpenFD(c.TID, fd); err != nil {
			return socket{}, err
		}
		defer unix.Close(dup)
		name, err = protocolName("/proc/self/fd/" + strconv.Itoa(dup))
	}
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return socket{}, nil
	}
	return socketNamed(name), err
}

func protocolName(link string) (string, error) {
	var name [32]byte
	n, err := unix.Getxattr(link, "system.sockprotoname", name[:])
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(name[:n]), "\x00"), nil
}

// socketNamed translates the kernel's protocol names (struct proto's name).
func socketNamed(name string) socket {
	switch name {
	case "TCP", "TCPv6", "MPTCP", "MPTCPv6": // MPTCP is TCP on every path it takes
		return socket{"TCP", "SOCK_STREAM"}
	case "UDP", "UDPv6", "UDP-Lite", "UDPLITEv6":
		return socket{"UDP", "SOCK_DGRAM"}
	case "PING":
		return socket{"ICMP", "SOCK_DGRAM"}
	case "PINGv6":
		return socket{"ICMPv6", "SOCK_DGRAM"}
	case "RAW", "RAWv6":
		return socket{"RAW", "SOCK_RAW"}
	case "SCTP", "SCTPv6":
		return socket{"SCTP", "SOCK_STREAM"}
	case "DCCP", "DCCPv6":
		return socket{"DCCP", "SOCK_DCCP"}
	case "UNIX-STREAM":
		return socket{"", "SOCK_STREAM"}
	case "UNIX": // datagram or seqpacket: the kernel has one name for both
		return socket{"", "SOCK_DGRAM"}
	case "NETLINK":
		return socket{"", "SOCK_RAW"}
	case "PACKET":
		return socket{"", "SOCK_PACKET"}
	}
	return socket{}
}

// socketOfNumbers tells what socket(2) makes of its arguments.
func socketOfNumbers(family, kind, protocol int) socket {
	s := socket{kind: kindName(kind)}
	if family == unix.AF_INET || family == unix.AF_INET6 {
		s.protocol = protocolOf(kind, protocol)
	}
	return s
}

// typeMask is SOCK_TYPE_MASK of the kernel: the rest of a socket's type is flags.
const typeMask = 0xf

// protocolOf is the name of an Internet protocol. 0 stands for the one that is
// usual for the type.
func protocolOf(kind, protocol int) string {
	switch protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_MPTCP:
		return "TCP"
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE:
		return "UDP"
	case unix.IPPROTO_ICMP:
		return "ICMP"
	case unix.IPPROTO_ICMPV6:
		return "ICMPv6"
	case unix.IPPROTO_SCTP:
		return "SCTP"
	case unix.IPPROTO_RAW:
		return "RAW"
	case 0:
		switch kind & typeMask {
		case unix.SOCK_STREAM:
			return "TCP"
		case unix.SOCK_DGRAM:
			return "UDP"
		case unix.SOCK_SEQPACKET:
			return "SCTP"
		}
	}
	return ""
}

// kindName is the name of a socket's type, without its flags.
func kindName(kind int) string {
	switch kind & typeMask {
	case unix.SOCK_STREAM:
		return "SOCK_STREAM"
	case unix.SOCK_DGRAM:
		return "SOCK_DGRAM"
	case unix.SOCK_RAW:
		return "SOCK_RAW"
	case unix.SOCK_RDM:
		return "SOCK_RDM"
	case unix.SOCK_SEQPACKET:
		return "SOCK_SEQPACKET"
	case unix.SOCK_DCCP:
		return "SOCK_DCCP"
	case unix.SOCK_PACKET:
		return "SOCK_PACKET"
	}
	return ""
}

// describe writes a socket as KubeArmor's enforcer does, for calls that have no
// address.
func (s socket) describe() string {
	if s.protocol == "" {
		return "type=" + s.kind
	}
	return "protocol=" + s.protocol + " type=" + s.kind
}

// describeSocket writes the Resource of a socket(2) as KubeArmor does.
func describeSocket(family, kind, protocol int) string {
	name := protocolOf(kind, protocol)
	if name == "" || protocol == 0 {
		name = "HOPOPT" // the protocol of the number 0
	}
	text := kindName(kind)
	if kind&unix.SOCK_NONBLOCK != 0 {
		text += "|SOCK_NONBLOCK"
	}
	if kind&unix.SOCK_CLOEXEC != 0 {
		text += "|SOCK_CLOEXEC"
	}
	return "domain=" + familyName(uint16(family)) + " type=" + text + " protocol=" + name
}
