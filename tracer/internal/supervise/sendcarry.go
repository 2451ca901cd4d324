package supervise

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// carrySends sends in the place of the caller: between a check of an address in
// memory and the kernel's own look at it, another thread can change it.
func (w *worker) carrySends(c *call, u *socketUse) engine.Answer {
	const zerocopy = 0x4000000 // MSG_ZEROCOPY: the kernel would tell when it is done with the tracer's memory
	if c.flags()&zerocopy != 0 {
		return engine.Fail(unix.ENOBUFS)
	}
	count := c.messages()
	for i := range count {
		m, err := w.readMessage(c, i)
		if err != nil {
			return w.sentBefore(c, i, err)
		}
		n, err := w.carrySend(c, u, &m)
		switch {
		case n == 0 && err != nil:
			return w.sentBefore(c, i, err)
		case c.Spec.ID != syscalls.Sendmmsg:
			return engine.Return(int64(n))
		}
		var length [4]byte // msg_len, behind the struct msghdr
		binary.NativeEndian.PutUint32(length[:], uint32(n))
		if err := c.process.WriteMemory(c.TID, c.header(i)+msghdrSize, length[:]); err != nil {
			return w.sentBefore(c, i, unix.EFAULT)
		}
	}
	return engine.Return(int64(count))
}

// carrySend asks about one message, and sends it.
func (w *worker) carrySend(c *call, u *socketUse, m *message) (int, error) {
	u.to = m.to
	if err := w.findDestination(c, u); err != nil {
		return 0, err
	}
	defer u.file.Close()
	if err := w.decideUse(c, u); err != nil {
		return 0, err
	}
	if !c.Hold.Valid() {
		return 0, process.ErrGone
	}
	if m.to.raw != nil {
		w.reportUse(c, u)
		if u.verdict.Deny {
			return 0, unix.EACCES
		}
	}
	return w.send(c, u, m)
}

// sentBefore answers a call of which a message could not be sent: with the number
// of those before it or, where there are none, with the error.
func (w *worker) sentBefore(c *call, messages int, err error) engine.Answer {
	var e unix.Errno
	switch {
	case messages > 0:
		return engine.Return(int64(messages))
	case errors.Is(err, errElsewhere):
		return w.failed(c, err)
	case !errors.As(err, &e) || !c.Hold.Valid():
		return w.unknown(c, err)
	case e == unix.EPIPE && c.flags()&unix.MSG_NOSIGNAL == 0:
		_ = unix.Tgkill(c.process.PID(), c.TID, unix.SIGPIPE) // ESRCH: it is dead
	}
	return w.failed(c, e)
}

// send sends one message. Of a stream that takes several steps where it is long.
func (w *worker) send(c *call, u *socketUse, m *message) (sent int, err error) {
	stream := u.sock.kind == "SOCK_STREAM"
	if m.size > maxData && !stream {
		return 0, unix.EMSGSIZE
	}
	control, release, err := w.ownControl(c, m.control)
	if err != nil {
		return 0, err
	}
	defer release()
	if stream && c.flags()&unix.MSG_DONTWAIT == 0 && waits(u.fd) && !c.Hold.MayWait() {
		return 0, errElsewhere
	}
	for {
		data, err := m.data(c, sent)
		if err != nil {
			return sent, err
		}
		var n int
		err = w.asCaller(c, func() (err error) {
			n, err = sendmsg(c, u.fd, data, control, u.dest, int(c.flags()))
			return err
		})
		sent += max(n, 0)
		if err != nil || !stream || sent >= m.size || n < len(data) {
			return sent, err
		}
		control = nil
	}
}

// sendmsg is sendmsg(2), without a signal to the tracer.
func sendmsg(c *call, fd int, data, control, to []byte, flags int) (int, error) {
	var vector unix.Iovec
	header := unix.Msghdr{Iov: &vector, Iovlen: 1, Namelen: uint32(len(to)), Controllen: uint64(len(control))}
	vector.SetLen(len(data))
	vector.Base, header.Name, header.Control = unsafe.SliceData(data), unsafe.SliceData(to), unsafe.SliceData(control)
	for {
		n, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&header)), uintptr(flags|unix.MSG_NOSIGNAL))
		switch {
		case errno == 0:
			return int(n), nil
		case errno != unix.EINTR || c.Hold.Interrupted():
			return 0, errno
		}
	}
}

// ownControl brings the control messages of the caller into the tracer's terms:
// the descriptors that it sends are the tracer's own for the same files. Who sends
// (SCM_CREDENTIALS) is for the kernel to say.
func (w *worker) ownControl(c *call, control []byte) (own []byte, release func(), err error) {
	var borrowed []int
	release = func() {
		for _, fd := range borrowed {
			unix.Close(fd)
		}
	}
	for rest := control; len(rest) >= unix.SizeofCmsghdr; {
		length := binary.NativeEndian.Uint64(rest)
		if length < unix.SizeofCmsghdr || length > uint64(len(rest)) {
			break // the kernel does not take it either
		}
		level, kind := int32(binary.NativeEndian.Uint32(rest[8:])), int32(binary.NativeEndian.Uint32(rest[12:]))
		aligned := min(unix.CmsgSpace(int(length)-unix.SizeofCmsghdr), len(rest))
		part := rest[:aligned]
		rest = rest[aligned:]
		if level == unix.SOL_SOCKET && kind == unix.SCM_CREDENTIALS {
			continue
		}
		if level == unix.SOL_SOCKET && kind == unix.SCM_RIGHTS {
			for fds := part[unix.SizeofCmsghdr:length]; len(fds) >= 4; fds = fds[4:] {
				fd, err := c.own(int(int32(binary.NativeEndian.Uint32(fds))))
				if err != nil {
					release()
					return nil, nil, err
				}
				borrowed = append(borrowed, fd)
				binary.NativeEndian.PutUint32(fds, uint32(fd))
			}
		}
		own = append(own, part...)
	}
	return own, release, nil
}
