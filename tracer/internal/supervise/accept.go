package supervise

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// maxAccepting bounds the calls that wait for a connection in the tracer. More of
// them are let run, and not told of.
const maxAccepting = 64

// accept answers accept and accept4. Where the connection is told of it is taken
// here, and installed: a call that is let run does not tell who has come. So a
// call waits here as long as it would have waited itself; it leaves the queue of
// connections alone until it may be interrupted no more.
func (w *worker) accept(c *call) engine.Answer {
	u := socketUse{op: rules.NetworkAccept, fd: -1}
	if (c.rules.Wants()|w.Visible())&u.op == 0 {
		return engine.Continue()
	}
	if err := w.decideUse(c, &u); err != nil {
		return w.unknownUse(c, err)
	}
	if u.verdict.Deny || !w.tellsUse(&u) {
		if !c.Hold.Valid() {
			return engine.Answer{}
		}
		if u.verdict.Deny {
			w.reportUse(c, &u)
			return engine.Fail(unix.EACCES)
		}
		return engine.Continue()
	}
	if err := w.borrow(c, &u); err != nil || u.fd < 0 {
		return engine.Continue() // the kernel says what is wrong, if anything is
	}
	defer u.close()
	flags, ok := c.acceptFlags()
	if listening, err := unix.GetsockoptInt(u.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listening == 0 || !ok {
		return engine.Continue()
	}
	if waits(u.fd) {
		if timesOut(u.fd, unix.SO_RCVTIMEO) {
			return engine.Continue()
		}
		if w.accepting.Add(1) > maxAccepting {
			w.accepting.Add(-1)
			return engine.Continue()
		}
		defer w.accepting.Add(-1)
		if !c.Hold.MayWait() {
			return engine.Defer()
		}
		if a, ok := awaitConnection(c, u.fd); !ok {
			return a
		}
	}
	return w.takeConnection(c, &u, flags)
}

// acceptFlags are the flags of accept4, as far as the kernel knows them.
func (c *call) acceptFlags() (flags int, ok bool) {
	if c.Spec.ID == syscalls.Accept4 {
		flags = int(int32(c.Args[3]))
	}
	return flags, flags&^(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK) == 0
}

// awaitConnection waits until there is a connection to accept. If it is not ok, the
// answer counts.
func awaitConnection(c *call, fd int) (a engine.Answer, ok bool) {
	for {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		_, err := unix.Poll(ready, -1)
		switch {
		case err == nil:
			return a, true
		case err != unix.EINTR:
			return engine.Continue(), false
		case c.Hold.Interrupted():
			return engine.Restart(), false
		}
	}
}

// takeConnection accepts a connection for the caller.
func (w *worker) takeConnection(c *call, u *socketUse, flags int) engine.Answer {
	st, err := c.process.Status(c.TID)
	if err == nil {
		err = c.process.RoomForFD(c.TID, st.FDSize, 1+w.Can.Spare)
	}
	if err == nil {
		err = w.become(c)
	}
	if err != nil {
		return w.unknown(c, err)
	}
	if !c.Hold.Valid() {
		return engine.Answer{} // the connection is left for others
	}
	peer := make([]byte, maxSockaddr)
	length := uint32(len(peer))
	fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(u.fd), uintptr(unsafe.Pointer(&peer[0])), uintptr(unsafe.Pointer(&length)),
		uintptr(flags|unix.SOCK_CLOEXEC), 0, 0)
	switch {
	case errno == unix.EAGAIN && !waits(u.fd):
		return engine.Fail(errno)
	case errno == unix.EINTR && c.Hold.Interrupted():
		return engine.Restart()
	case errno == unix.EINTR || errno == unix.EAGAIN: // another process was faster
		return engine.Continue()
	case errno == 0:
		u.to = decodeSockaddr(peer[:min(length, maxSockaddr)])
	}
	w.reportUse(c, u)
	if errno != 0 {
		return engine.Fail(errno)
	}
	if err := c.tellPeer(peer[:min(length, maxSockaddr)]); err != nil {
		unix.Close(int(fd))
		return w.failed(c, err)
	}
	return engine.Install(int(fd), flags&unix.SOCK_CLOEXEC != 0)
}

// tellPeer writes the address of whom was accepted to where the caller wants it.
func (c *call) tellPeer(peer []byte) error {
	if c.Args[1] == 0 {
		return nil
	}
	var size [4]byte
	if err := c.process.ReadMemory(c.TID, c.Args[2], size[:]); err != nil {
		return err
	}
	room := int32(binary.NativeEndian.Uint32(size[:]))
	if room < 0 {
		return unix.EINVAL
	}
	binary.NativeEndian.PutUint32(size[:], uint32(len(peer)))
	if err := c.process.WriteMemory(c.TID, c.Args[1], peer[:min(int(room), len(peer))]); err != nil {
		return err
	}
	return c.process.WriteMemory(c.TID, c.Args[2], size[:])
}
