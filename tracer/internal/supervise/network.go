package supervise

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// socketUse is what a call does with a socket.
type socketUse struct {
	op      rules.Operation
	to      sockaddr // the address that it is given, if any
	sock    socket
	fd      int // the tracer's own descriptor of the very socket; -1 where it has none
	verdict rules.Verdict

	dest []byte       // the address, in the tracer's terms
	unix string       // the Unix socket that the address leads to, as rules name it
	file paths.Result // and its file
}

// socket answers socket(2), whose arguments are numbers and cannot be changed by
// another thread: a protocol that a rule denies is denied here. The calls that
// use a socket are asked about as well, for one that was there before the rule.
// Most sockets are told of where they are used; those that need not be connected
// to see or send something are told of here.
func (w *worker) socket(c *call) engine.Answer {
	if isRaw(c) && w.useCapability(c, unix.CAP_NET_RAW) {
		return engine.Fail(unix.EPERM)
	}
	family, kind, protocol := int(int32(c.Args[0])), int(int32(c.Args[1])), int(int32(c.Args[2]))
	told := raises(family, kind, protocol)
	anywhere := reachesAnywhere(family, kind, protocol) && w.couldDenyEndpoint(c, rules.AnyNetwork)
	if !w.couldDeny(c, rules.Network) && !(told && (c.rules.Wants()|w.Visible())&rules.Network != 0) {
		return engine.Continue()
	}
	a, err := w.networkAccess(c, rules.Network, socketOfNumbers(family, kind, protocol))
	if err != nil {
		return w.unknown(c, err)
	}
	v := c.rules.Decide(a)
	if !v.Deny && anywhere {
		v = c.rules.DecideAnywhere(a)
	}
	if !v.Deny && !told {
		return engine.Continue()
	}
	if !c.Hold.Valid() {
		return engine.Answer{}
	}
	if w.reported(v, rules.Network) {
		w.tellBefore(c)
		w.beginReport(c, v)
		c.report.op, c.report.resource = rules.Network, describeSocket(family, kind, protocol)
		c.report.result = schema.ResultPassed
		if kind&typeMask == unix.SOCK_RAW || family == unix.AF_PACKET {
			if cred, err := c.process.Credentials(c.TID); err == nil && cred.CapEff&(1<<unix.CAP_NET_RAW) == 0 {
				c.report.result = resultOf(unix.EPERM)
			}
		}
	}
	if v.Deny {
		return engine.Fail(unix.EACCES)
	}
	return engine.Continue()
}

// raises says whether a socket is told of when it is made: one that sees what is
// sent to others, or sends what the kernel would not.
func raises(family, kind, protocol int) bool {
	switch {
	case family == unix.AF_PACKET, kind&typeMask == unix.SOCK_PACKET:
		return true
	case family == unix.AF_INET || family == unix.AF_INET6:
		return kind&typeMask == unix.SOCK_RAW || protocol == unix.IPPROTO_ICMP || protocol == unix.IPPROTO_ICMPV6
	}
	return false
}

// reachesAnywhere says whether a socket reaches what no address tells: one that sends
// whole packets, or addresses of a kind that is not known here. Raw sockets for ICMP are
// for ping.
func reachesAnywhere(family, kind, protocol int) bool {
	switch family {
	case unix.AF_INET, unix.AF_INET6:
		switch kind & typeMask {
		case unix.SOCK_RAW, unix.SOCK_PACKET:
			return protocol != unix.IPPROTO_ICMP && protocol != unix.IPPROTO_ICMPV6
		}
		return protocol == unix.IPPROTO_SCTP // which connects by options as well
	case unix.AF_UNIX, unix.AF_NETLINK, unix.AF_ALG, unix.AF_VSOCK:
		return false
	}
	return true
}

// couldDenyEndpoint says whether a rule could deny the caller whom an access is for.
func (w *worker) couldDenyEndpoint(c *call, op rules.Operation) bool {
	if !c.rules.CanDeny(op) {
		return false
	}
	source, err := c.process.Exe()
	return err != nil || c.rules.CouldDenyEndpoint(op, source)
}

// connect answers connect.
func (w *worker) connect(c *call) engine.Answer {
	return w.withAddress(c, c.Args[c.Spec.Addr], c.Args[c.Spec.Addr+1], w.carryConnect)
}

// listen answers listen.
func (w *worker) listen(c *call) engine.Answer {
	u := socketUse{op: rules.Network, fd: -1}
	return w.uses(c, &u, nil)
}

// withAddress answers a call that gives a socket the address at addr, or connects
// it to that.
func (w *worker) withAddress(c *call, addr, length uint64, carry func(*call, *socketUse) engine.Answer) engine.Answer {
	if (c.rules.Wants()|w.Visible())&rules.Network == 0 {
		return engine.Continue()
	}
	to, err := readSockaddr(c, addr, length)
	if err != nil {
		return w.unknownUse(c, err)
	}
	u := socketUse{op: rules.Network, to: to, fd: -1}
	if to.family == "AF_UNIX" && (c.Spec.ID == syscalls.Bind || !w.couldDenyEndpoint(c, u.op)) {
		carry = nil // who connects is told to the other side by the kernel; no rule is about the address
	}
	return w.uses(c, &u, carry)
}

// uses answers a call that uses a socket: it asks the rules, and has carry make the
// call where a rule could deny it, for what is asked about is then what is used.
// Where the tracer may not have the socket, the call is let run.
func (w *worker) uses(c *call, u *socketUse, carry func(*call, *socketUse) engine.Answer) engine.Answer {
	could := w.couldDeny(c, u.op) || w.couldDenyCapability(c)
	if !could && (c.rules.Wants()|w.Visible())&u.op == 0 {
		return engine.Continue()
	}
	if could && carry != nil {
		if err := w.borrow(c, u); err != nil {
			return w.unknownUse(c, err)
		}
		defer u.close()
	}
	if carry != nil || c.Spec.ID != syscalls.Bind {
		if err := w.findDestination(c, u); err != nil {
			return w.unknownUse(c, err)
		}
		defer u.file.Close()
	}
	if err := w.decideUse(c, u); err != nil {
		return w.unknownUse(c, err)
	}
	if !u.verdict.Deny && c.bindsPrivileged(&u.to) && w.useCapability(c, c.Spec.Capability) {
		return engine.Fail(unix.EACCES) // as the kernel does, of this one capability
	}
	if u.fd < 0 && !u.verdict.Deny && !w.tellsUse(u) {
		return engine.Continue()
	}
	if !c.Hold.Valid() {
		return engine.Answer{}
	}
	w.reportUse(c, u)
	switch {
	case u.verdict.Deny:
		return engine.Fail(unix.EACCES)
	case u.fd >= 0:
		return carry(c, u)
	}
	return engine.Continue()
}

// own gives the tracer a descriptor for what the caller has under fd. Where the kernel
// does not let the tracer take it, the engine may know a way. The error is
// process.ErrUnreadable where there is none.
func (c *call) own(fd int) (int, error) {
	own, err := c.process.Borrow(c.TID, fd)
	if !errors.Is(err, process.ErrUnreadable) {
		return own, err
	}
	lent, lendErr := c.Hold.Lend(fd)
	if errors.Is(lendErr, errors.ErrUnsupported) {
		return -1, err
	}
	return lent, lendErr
}

// borrow gives the tracer the socket as well, where it may have it.
func (w *worker) borrow(c *call, u *socketUse) (err error) {
	u.fd, err = c.own(int(int32(c.Args[c.Spec.FD])))
	if errors.Is(err, process.ErrUnreadable) {
		w.warn(exe(c.process), "a socket of the workload could not be had: what it connects to is looked at and let run", "error", err)
		return nil
	}
	return err
}

func (u *socketUse) close() {
	if u.fd >= 0 {
		unix.Close(u.fd)
	}
}

// decideUse finds out which socket it is, and asks the rules.
func (w *worker) decideUse(c *call, u *socketUse) (err error) {
	if u.fd >= 0 {
		u.sock, err = socketOfOwn(u.fd)
	} else {
		u.sock, err = socketOf(c)
	}
	if errors.Is(err, unix.ENOENT) {
		err = unix.EBADF
	}
	if err != nil && c.rules.CanDeny(u.op) {
		return err
	}
	a, err := w.networkAccess(c, u.op, u.sock)
	if err != nil {
		return err
	}
	if c.Spec.ID != syscalls.Bind && u.op != rules.NetworkAccept {
		a.IP, a.Port, a.Unix = u.to.remote(), u.to.port, u.unix
	}
	u.verdict = c.rules.Decide(a)
	return nil
}

// tellsUse says whether the use of a socket is told of.
func (w *worker) tellsUse(u *socketUse) bool {
	return w.reported(u.verdict, u.op) && (u.to.family != "" || u.to.raw == nil)
}

// tellBefore tells what there is to tell of the call already: of a capability, or of
// the message before.
func (w *worker) tellBefore(c *call) {
	if c.report.due {
		w.tell(&c.report)
	}
}

func (w *worker) reportUse(c *call, u *socketUse) {
	if !w.tellsUse(u) {
		return // AF_UNSPEC undoes a connection; what is malformed the kernel refuses
	}
	w.tellBefore(c)
	w.beginReport(c, u.verdict)
	r := &c.report
	r.op, r.result = u.op, predict(!u.verdict.Deny)
	r.to, r.protocol, r.resource = u.to, u.sock.protocol, u.sock.describe()
	r.to.raw = nil
}

// networkAccess is the use of a socket as the rules see it. It is the worker's, as there is one at a time.
func (w *worker) networkAccess(c *call, op rules.Operation, sock socket) (*rules.Access, error) {
	a := &w.access
	*a = rules.Access{Operation: op, HasTTY: hasTTY(c.process), Protocol: sock.protocol, SockType: sock.kind}
	var err error
	if a.Source, err = c.process.Exe(); err != nil && !c.rules.CanDeny(op) {
		err = nil
	}
	return a, err
}

// unknownUse answers a call on a socket that could not be examined. One of a
// process that cannot be read, because it has changed its user and the tracer lacks
// CAP_SYS_PTRACE, is let run: its socket was asked about when it was made.
func (w *worker) unknownUse(c *call, err error) engine.Answer {
	if errors.Is(err, process.ErrUnreadable) && c.Hold.Valid() {
		w.warn(exe(c.process), "a call on a socket of the workload could not be examined; the socket was, when it was made", "call", c.Spec.Name, "error", err)
		return engine.Continue()
	}
	return w.unknown(c, err)
}

// socketOfOwn tells what the tracer's own descriptor fd is. One that is no socket
// gives the zero socket: the kernel fails the call.
func socketOfOwn(fd int) (socket, error) {
	var of [3]int
	for i, option := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL} {
		var err error
		if of[i], err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err != nil {
			if err == unix.ENOTSOCK {
				err = nil
			}
			return socket{}, err
		}
	}
	return socketOfNumbers(of[0], of[1], of[2]), nil
}
