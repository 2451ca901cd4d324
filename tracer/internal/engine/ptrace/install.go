package ptrace

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
)

// A descriptor is given to a thread by having it receive one: it makes a socket, the
// service sends the open file there, the thread receives it, moves it to the number of
// the socket, which is the lowest that was free, and closes what is left. Whatever
// another thread of the process does meanwhile, nothing but an approved file comes of it.
// Another process could send to the socket as well; the nonce tells which message is the
// service's. In another network namespace the socket is not found by its name: the thread
// makes a pair of sockets then, and the service takes one of them.

const (
	nonceSize = 16
	maxForged = 16 // messages of others that are put away for one of ours
)

// Layout of the memory for injected calls, in words of 8 bytes.
const (
	atAddress = 0                   // struct sockaddr_un
	atHeader  = 64                  // struct msghdr
	atVector  = atHeader + 56       // struct iovec
	atNonce   = atVector + 16       // what was received
	atControl = atNonce + nonceSize // struct cmsghdr and the descriptor
	atEnd     = atControl + 24
	atPair    = atEnd // numbers of two sockets

	controlLen = unix.SizeofCmsghdr + 4 // of one descriptor, so that no message brings two
)

// install gives the caller an open file as its lowest free descriptor, which its call
// returns.
func (s *service) install(tid int, r *registers, waited bool, fd int, closeOnExec bool) (o engine.Outcome) {
	in, err := s.begin(tid, r, waited)
	if err != nil {
		unix.Close(fd)
		return o
	}
	n, err := in.receive(fd, closeOnExec)
	value := int64(n)
	if err != nil {
		o.Errno = unix.EACCES
		var refused refusal
		if errors.As(err, &refused) {
			o.Errno = unix.Errno(refused)
		} else if !errors.Is(err, errGone) && !s.warned {
			s.warned = true
			s.Log.Warn("a file could not be handed to the workload, whose open fails; said only once", "thread", tid, "error", err)
		}
		value = -int64(o.Errno)
	}
	o.Known, o.Result = true, int64(n)
	o.Sent = !errors.Is(err, errGone) && in.end(value)
	return o
}

// receive has the thread receive fd, which is closed.
func (in *injection) receive(fd int, closeOnExec bool) (int, error) {
	m := letter{fd: fd}
	defer m.close()
	if err := in.mayInject(); err != nil {
		return -1, err
	}
	if closeOnExec {
		m.receiveFlags, m.moveFlags = unix.MSG_CMSG_CLOEXEC, unix.O_CLOEXEC
	}
	socket, err := in.call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	m.socket = uint64(socket)
	m.from = m.socket
	n, err := in.receiveMessage(&m)
	if errors.Is(err, errGone) {
		return -1, err
	}
	if err != nil {
		_, _ = in.call(unix.SYS_CLOSE, m.socket)
	} else if _, err = in.call(unix.SYS_DUP3, uint64(n), m.socket, m.moveFlags); err == nil {
		_, err = in.call(unix.SYS_CLOSE, uint64(n))
	}
	if m.from != m.socket {
		_, _ = in.call(unix.SYS_CLOSE, m.from)
		_, _ = in.call(unix.SYS_CLOSE, m.far)
	}
	in.putBack(m.page)
	return int(socket), err
}

// letter is an open file on its way to a thread.
type letter struct {
	fd           int    // the service's copy, -1 once it is closed
	socket       uint64 // of the thread's, as all that follow
	from, far    uint64 // the socket that it comes by, and the other one where that is of a pair
	page         uint64
	nonce        []byte
	receiveFlags uint64
	moveFlags    uint64
}

func (m *letter) close() {
	if m.fd >= 0 {
		unix.Close(m.fd)
		m.fd = -1
	}
}

// receiveMessage receives the file by a new socket of the thread's. The service's copy is
// closed before the thread can run.
func (in *injection) receiveMessage(m *letter) (n int, err error) {
	if m.page, err = in.memory(); err != nil {
		return -1, err
	}
	var random [2 * nonceSize]byte
	_, _ = rand.Read(random[:]) // never fails
	name := hex.EncodeToString(random[:nonceSize])
	m.nonce = random[nonceSize:]
	if err := in.write(m.page, layout(m.page, name)); err != nil {
		return -1, err
	}
	if _, err := in.call(unix.SYS_BIND, m.socket, m.page+atAddress, uint64(2+1+len(name))); err != nil {
		return -1, err
	}
	if err := in.send(m, name); err != nil {
		return -1, err
	}
	for range maxForged {
		if n, err = in.receiveOne(m); err != nil || n >= 0 {
			return n, err
		}
		if err = in.write(m.page, layout(m.page, name)); err != nil {
			return -1, err
		}
	}
	return -1, refusal(unix.EAGAIN)
}

// send sends the file to the socket with a name, or by a pair.
func (in *injection) send(m *letter, name string) error {
	err := unix.Sendmsg(in.service.sender, m.nonce, unix.UnixRights(m.fd), &unix.SockaddrUnix{Name: "@" + name}, 0)
	if errors.Is(err, unix.ECONNREFUSED) {
		err = in.sendByPair(m)
	}
	m.close()
	if err != nil && !errors.Is(err, errGone) {
		return fmt.Errorf("sending the file: %w", err)
	}
	return err
}

// sendByPair has the thread make a pair of sockets, and sends the file by one of them.
// Where another thread puts something else under its number, an approved file goes there,
// which that thread could have opened and sent itself.
func (in *injection) sendByPair(m *letter) error {
	if _, err := in.call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0, m.page+atPair); err != nil {
		return err
	}
	var b [word]byte
	if err := peek(in.tid, m.page+atPair, b[:]); err != nil {
		return err
	}
	m.from, m.far = uint64(binary.NativeEndian.Uint32(b[:])), uint64(binary.NativeEndian.Uint32(b[4:]))
	end, err := in.take(int(m.far))
	if err != nil {
		return fmt.Errorf("into another network namespace: %w", err)
	}
	defer unix.Close(end)
	return unix.Sendmsg(end, m.nonce, unix.UnixRights(m.fd), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// take gives a descriptor of the thread's.
func (in *injection) take(fd int) (int, error) {
	// A thread can have descriptors of its own; before Linux 6.9 a pidfd is a process's.
	pidfd, err := unix.PidfdOpen(in.tid, unix.PIDFD_THREAD)
	if errors.Is(err, unix.EINVAL) {
		pidfd, err = unix.PidfdOpen(in.process, 0)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	return unix.PidfdGetfd(pidfd, fd, 0)
}

// receiveOne receives one message. A negative number is that of one that is not the
// service's.
func (in *injection) receiveOne(m *letter) (int, error) {
	size, err := in.call(unix.SYS_RECVMSG, m.from, m.page+atHeader, unix.MSG_DONTWAIT|m.receiveFlags)
	if err != nil {
		return -1, err
	}
	var b [atEnd - atNonce]byte
	if err := peek(in.tid, m.page+atNonce, b[:]); err != nil {
		return -1, fmt.Errorf("reading the workload's memory: %w", err)
	}
	switch n, forged := opened(b[:], size, m.nonce); {
	case !forged && n >= 0:
		return n, nil
	case !forged:
		return -1, refusal(unix.EMFILE) // there was no number for it
	case n >= 0:
		_, err = in.call(unix.SYS_CLOSE, uint64(n))
	}
	return -1, err
}

// opened gives the descriptor that came with a message, -1 for none, and says whether the
// message is another's. b is what the thread has received, size the message's own.
func opened(b []byte, size int64, nonce []byte) (fd int, forged bool) {
	fd = -1
	if control := b[nonceSize:]; binary.NativeEndian.Uint64(control) == controlLen {
		fd = max(fd, int(int32(binary.NativeEndian.Uint32(control[unix.SizeofCmsghdr:]))))
	}
	return fd, size != nonceSize || !bytes.Equal(b[:nonceSize], nonce)
}

// layout is what the memory for injected calls begins with.
func layout(page uint64, name string) []byte {
	b := make([]byte, atEnd)
	put := func(at int, v uint64) { binary.NativeEndian.PutUint64(b[at:], v) }
	binary.NativeEndian.PutUint16(b[atAddress:], unix.AF_UNIX)
	copy(b[atAddress+3:], name) // behind a NUL
	put(atHeader+16, page+atVector)
	put(atHeader+24, 1)
	put(atHeader+32, page+atControl)
	put(atHeader+40, controlLen)
	put(atVector, page+atNonce)
	put(atVector+8, nonceSize)
	return b
}
