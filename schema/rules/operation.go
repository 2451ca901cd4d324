package rules

import (
	"fmt"
	"strings"
)

// Operation is what a workload does, as far as policies and events tell it
// apart: one bit each, so that several are a set. The kernel filter, the rules,
// visibility, postures and events all speak of these. The zero Operation is
// none: calls that only change facts about a process.
type Operation uint16

// The operations. An open for writing, with O_CREAT or with O_TRUNC is a
// FileWrite, any other open a FileRead. Network is making sockets, binding,
// listening and connecting; what servers do for each connection or datagram is
// apart, since it costs them when it is looked at.
const (
	Process Operation = 1 << iota
	FileRead
	FileWrite
	Network
	Syscall       // a call that changes who the caller is, or reaches out of it: setuid, ptrace, mount and their kind
	Capabilities  // the use of a capability
	MapExec       // anonymous memory that is made executable
	NetworkAccept // accepting a connection
	NetworkSend   // sending to an address
	NetworkDNS    // asking for a name
)

// Sets of operations. All leaves out what programs with compilers of their own do
// all the time.
const (
	File = FileRead | FileWrite
	All  = Process | File | Network | Syscall | Capabilities
	// AnyNetwork is all that is told of as Network.
	AnyNetwork = Network | NetworkAccept | NetworkSend | NetworkDNS
	// sockets is what rules about protocols can be about.
	sockets = AnyNetwork &^ NetworkDNS
)

// String is the operation's name in KubeArmor's events.
func (op Operation) String() string {
	switch {
	case op == Process:
		return "Process"
	case op != 0 && op&^AnyNetwork == 0:
		return "Network"
	case op == Capabilities:
		return "Capabilities"
	case op == Syscall, op == MapExec:
		return "Syscall"
	case op != 0 && op&^File == 0:
		return "File"
	}
	return "Unknown"
}

// words are the names of sets in settings and in the log.
var words = []struct {
	word string
	op   Operation
}{
	{"all", All},
	{"process", Process},
	{"file", File},
	{"file:read", FileRead},
	{"file:write", FileWrite},
	{"network", Network},
	{"network:accept", NetworkAccept},
	{"network:send", NetworkSend},
	{"network:dns", NetworkDNS},
	{"syscalls", Syscall},
	{"capabilities", Capabilities},
	{"mapexec", MapExec},
}

// ParseOperations reads a set as settings write it: process, file, file:read,
// file:write, network, network:accept, network:send, network:dns, syscalls, capabilities,
// mapexec and all, separated by commas. The error names the word that is none of them.
func ParseOperations(list string) (op Operation, err error) {
	for part := range strings.SplitSeq(list, ",") {
		found := Operation(0)
		for _, w := range words {
			if w.word == strings.TrimSpace(part) {
				found = w.op
			}
		}
		if found == 0 {
			return 0, fmt.Errorf("%q: use process, file, file:write, network, network:accept, network:send, network:dns, syscalls, capabilities and mapexec, separated by commas, or all", part)
		}
		op |= found
	}
	return op, nil
}

// Words writes a set as ParseOperations reads it; "none" for the empty one.
func (op Operation) Words() string {
	var list []string
	for _, w := range words[1:] {
		if op&w.op == w.op && w.op != 0 {
			list = append(list, w.word)
			op &^= w.op
		}
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ",")
}
