package learn

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sidearmor/sidearmor/schema/rules"
)

// use is one access, without what makes two alike accesses different: pids, the ports
// and addresses of clients, arguments. The zero use is none.
type use struct {
	op             rules.Operation
	path           string // Process, File
	source         string // the program that acts; of files, whoever does
	create         bool   // File: made by it
	own            bool   // File: in /proc, of the process itself
	name           string // Capabilities, NetworkDNS
	protocol, kind string // Network
	ip             netip.Addr
	port           uint16 // 0: any
	unix           string
	anywhere       bool // Network: a socket that reaches whom it likes
}

// useOf says what an access is; not ok, no rule can name it.
func useOf(a *rules.Access) (u use, ok bool) {
	switch a.Operation {
	case rules.Process:
		if !strings.HasPrefix(a.Path, "/") || strings.HasSuffix(a.Path, " (deleted)") {
			return use{}, false
		}
		return use{op: a.Operation, path: a.Path, source: a.Source}, true
	case rules.FileRead, rules.FileWrite:
		if !strings.HasPrefix(a.Path, "/") {
			return use{}, false
		}
		u = use{op: a.Operation, create: a.Create}
		u.path, u.own = ofProcess(a.Path, a.PID)
		return u, true
	case rules.Network, rules.NetworkAccept, rules.NetworkSend:
		u = use{op: a.Operation, source: a.Source, protocol: a.Protocol, unix: a.Unix}
		u.kind, _, _ = strings.Cut(a.SockType, "|")
		u.address(a.IP, a.Port)
		return u, true
	case rules.NetworkDNS, rules.Capabilities:
		return use{op: a.Operation, source: a.Source, name: a.Name}, true
	}
	return use{}, true
}

// Addresses that stand for all that are not of this machine or its link: those for
// documents.
var (
	someV4 = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	someV6 = netip.MustParseAddr("2001:db8::1")
)

// firstEphemeral is where the ports begin that the kernel gives to clients.
const firstEphemeral = 32768

// address keeps of an address what is the same in the next run.
func (u *use) address(ip netip.Addr, port uint16) {
	switch {
	case !ip.IsValid():
		return
	case ip == netip.IPv4Unspecified():
		u.anywhere = true
		return
	case port < firstEphemeral:
		u.port = port
	}
	switch {
	case ip.IsLoopback() && ip.Is4():
		u.ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case ip.IsLoopback(), ip.IsLinkLocalUnicast() && ip.Is4(): // what a cloud has at link-local addresses
		u.ip = ip
	case ip.Is4():
		u.ip = someV4
	default:
		u.ip = someV6
	}
}

// ofProcess replaces the numbers of processes, threads and descriptors in a path of
// /proc by 1, and says whether it is of the process pid.
func ofProcess(path string, pid int) (string, bool) {
	rest, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return path, false
	}
	names := strings.Split(rest, "/")
	if !isNumber(names[0]) {
		return path, false
	}
	own := names[0] == itoa(pid)
	for i := range names {
		if isNumber(names[i]) {
			names[i] = "1"
		}
	}
	return "/proc/" + strings.Join(names, "/"), own
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// access is an access that a use stands for.
func (u *use) access() rules.Access {
	a := rules.Access{
		Operation: u.op, Path: u.path, Source: u.source, Create: u.create, Name: u.name,
		Protocol: u.protocol, SockType: u.kind, IP: u.ip, Port: u.port, Unix: u.unix, PID: 2,
	}
	if u.own {
		a.PID = 1
	}
	if u.ip.IsValid() && u.port == 0 {
		a.Port = firstEphemeral
	}
	return a
}

// key is a text that is another for each use.
func (u *use) key() string {
	return fmt.Sprint(u.path, "\x00", u.source, "\x00", u.name, "\x00", u.protocol, u.kind, u.ip, u.port, u.unix, u.create, u.own, u.anywhere)
}

// before brings uses into an order.
func before(a, b *use) bool {
	return a.op < b.op || a.op == b.op && a.key() < b.key()
}
