package supervise

import (
	"errors"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// carryConnect connects the caller's socket in its place.
func (w *worker) carryConnect(c *call, u *socketUse) engine.Answer {
	if !u.sock.connectsAtOnce() && waits(u.fd) && !c.Hold.MayWait() {
		return w.failed(c, errElsewhere)
	}
	if u.unix != "" {
		w.connections.add(u.fd, c.process.PID())
	}
	err := w.asCaller(c, func() error {
		for {
			err := onAddress(unix.SYS_CONNECT, u.fd, u.dest)
			if err != unix.EINTR || c.Hold.Interrupted() {
				return err
			}
		}
	})
	if err == unix.EINTR && timesOut(u.fd, unix.SO_SNDTIMEO) {
		return engine.Fail(unix.EINTR) // the kernel does not make it again
	}
	return w.carried(c, err)
}

// carryBind gives the caller's socket an address in its place.
func (w *worker) carryBind(c *call, u *socketUse) engine.Answer {
	return w.carried(c, w.asCaller(c, func() error { return onAddress(unix.SYS_BIND, u.fd, u.to.raw) }))
}

// carried answers a call that was made in the place of the caller and gives it 0.
func (w *worker) carried(c *call, err error) engine.Answer {
	switch {
	case err == nil:
		return engine.Return(0)
	case errors.Is(err, process.ErrGone):
		return engine.Answer{}
	}
	return w.failed(c, err)
}

// asCaller runs f with the rights of the caller.
func (w *worker) asCaller(c *call, f func() error) error {
	d, err := w.domainOf(c)
	switch {
	case err != nil:
		return err
	case d != nil:
		return d.as(c, f)
	}
	if err := w.become(c); err != nil {
		return err
	}
	return f()
}

// findDestination brings an address into the tracer's terms: of a Unix socket with a
// path it is the very file that the path leads the caller to. A file that is not there
// is left to the kernel where no rule could be about it.
func (w *worker) findDestination(c *call, u *socketUse) error {
	u.dest, u.unix, u.file = u.to.raw, "", paths.Result{FD: -1, ParentFD: -1}
	if u.to.family != "AF_UNIX" || u.to.path == "" || len(u.to.raw) < 3 {
		return nil
	}
	if u.unix = u.to.path; u.to.raw[2] == 0 || u.fd < 0 && !w.couldDenyEndpoint(c, u.op) {
		return nil
	}
	file, err := w.resolve(c, u.to.path, paths.Existing)
	if err != nil {
		return err
	}
	u.file, u.unix = file, file.Path
	if !file.Exists {
		return unix.ENOENT
	}
	u.dest = append(u.to.raw[:2:2], "/proc/self/fd/"+strconv.Itoa(file.FD)+"\x00"...)
	return nil
}

// onAddress makes a call that takes a socket and an address.
func onAddress(call uintptr, fd int, raw []byte) error {
	if _, _, errno := unix.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(raw))), uintptr(len(raw))); errno != 0 {
		return errno
	}
	return nil
}

// connectsAtOnce says that a connect of the socket waits for nobody: it says where
// datagrams go. To be spared for a while costs the thread more than such a call.
func (s socket) connectsAtOnce() bool {
	return s.protocol != "" && (s.kind == "SOCK_DGRAM" || s.kind == "SOCK_RAW")
}

// waits says whether calls on a socket may wait for others.
func waits(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK == 0
}

// timesOut says whether calls on a socket wait for a time only, SO_SNDTIMEO or
// SO_RCVTIMEO.
func timesOut(fd, option int) bool {
	t, err := unix.GetsockoptTimeval(fd, unix.SOL_SOCKET, option)
	return err == nil && (t.Sec != 0 || t.Usec != 0)
}
