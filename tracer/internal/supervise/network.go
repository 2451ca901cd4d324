package supervise

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// socket answers socket(2), whose arguments are numbers and cannot be changed by
// another thread: a protocol that a rule denies is denied here. The calls that
// use a socket are asked about as well, for one that was there before the rule.
func (w *worker) socket(c *call) engine.Answer {
	if isRaw(c) && w.useCapability(c, unix.CAP_NET_RAW) {
		return engine.Fail(unix.EPERM)
	}
	if !w.couldDeny(c, rules.Network) {
		return engine.Continue()
	}
	family, kind, protocol := int(int32(c.Args[0])), int(int32(c.Args[1])), int(int32(c.Args[2]))
	sock := socketOfNumbers(family, kind, protocol)
	a, err := w.networkAccess(c, sock)
	if err != nil {
		return w.unknown(c, err)
	}
	v := c.rules.Decide(&a)
	if !v.Deny {
		return engine.Continue()
	}
	if !c.Hold.Valid() {
		return engine.Answer{}
	}
	if w.reported(v, rules.Network) {
		w.beginReport(c, v)
		c.report.op, c.report.resource = rules.Network, describeSocket(family, kind, protocol)
	}
	return engine.Fail(unix.EACCES)
}

// connect answers connect.
func (w *worker) connect(c *call) engine.Answer {
	return w.connectTo(c, c.Args[c.Spec.Addr], c.Args[c.Spec.Addr+1])
}

// fastOpen answers the calls that send data along with the opening of a
// connection.
func (w *worker) fastOpen(c *call) engine.Answer {
	if c.Spec.Addr != syscalls.None {
		return w.connectTo(c, c.Args[c.Spec.Addr], c.Args[c.Spec.Addr+1])
	}
	// struct msghdr begins with the address of a name and its length. Of several
	// messages, the first opens the connection.
	var b [16]byte
	if err := c.process.ReadMemory(c.TID, c.Args[c.Spec.Msg], b[:]); err != nil {
		return w.unknownConnect(c, err)
	}
	return w.connectTo(c, binary.NativeEndian.Uint64(b[:]), uint64(binary.NativeEndian.Uint32(b[8:])))
}

// connectTo answers a call that connects to the address at addr.
func (w *worker) connectTo(c *call, addr, length uint64) engine.Answer {
	if (c.rules.Wants()|w.Visible)&rules.Network == 0 {
		return engine.Continue()
	}
	to, err := readSockaddr(c, addr, length)
	if err != nil {
		return w.unknownConnect(c, err)
	}
	if to.family == "" {
		return engine.Continue() // AF_UNSPEC undoes a connection; what is malformed the kernel refuses
	}
	sock, err := socketOf(c)
	if err != nil && c.rules.CanDeny(rules.Network) {
		return w.unknownConnect(c, err)
	}
	a, err := w.networkAccess(c, sock)
	if err != nil {
		return w.unknown(c, err)
	}
	v := c.rules.Decide(&a)
	if !v.Deny && !w.reported(v, rules.Network) {
		return engine.Continue()
	}
	if !c.Hold.Valid() {
		return engine.Answer{}
	}
	if w.reported(v, rules.Network) {
		w.beginReport(c, v)
		c.report.op, c.report.result = rules.Network, predict(!v.Deny)
		c.report.to, c.report.protocol = to, sock.protocol
	}
	if v.Deny {
		return engine.Fail(unix.EACCES)
	}
	return engine.Continue()
}

// networkAccess is the use of a socket as the rules see it.
func (w *worker) networkAccess(c *call, sock socket) (rules.Access, error) {
	a := rules.Access{Operation: rules.Network, HasTTY: hasTTY(c.process), Protocol: sock.protocol, SockType: sock.kind}
	var err error
	if a.Source, err = c.process.Exe(); err != nil && !c.rules.CanDeny(rules.Network) {
		err = nil
	}
	return a, err
}

// unknownConnect answers a connect that could not be examined. One of a process
// that cannot be read, because it has changed its user and the tracer lacks
// CAP_SYS_PTRACE, is let run: its socket was asked about when it was made.
func (w *worker) unknownConnect(c *call, err error) engine.Answer {
	if errors.Is(err, process.ErrUnreadable) && c.Hold.Valid() {
		w.warn(exe(c.process), "a connect of the workload could not be examined; its socket was, when it was made", "error", err)
		return engine.Continue()
	}
	return w.unknown(c, err)
}
