package notify

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
)

// answer gives the kernel the answer of the call n, and says what became of it.
// A caller that was interrupted or has died needs none.
func (s *service) answer(n *notification, a engine.Answer) engine.Outcome {
	r := response{id: n.id}
	if fd, closeOnExec, ok := a.File(); ok {
		sent, value, errno := s.install(n, fd, closeOnExec)
		switch {
		case sent:
			return engine.Outcome{Sent: true, Known: true, Result: int64(value)}
		case errno == unix.ENOENT:
			return engine.Outcome{}
		}
		a = engine.Fail(errno)
	}
	switch {
	case a.Continues():
		r.flags = flagContinue
	case a.Restarts():
		r.errno = -errnoRestart
	case a.Errno() != 0:
		r.errno = -int32(a.Errno())
	default:
		r.val = a.Value()
	}
	switch errno := s.listener.send(&r); errno {
	case 0:
		return engine.Outcome{Sent: true, Known: !a.Continues() && !a.Restarts(), Result: r.val, Errno: a.Errno()}
	case unix.ENOENT: // interrupted or dead
	default:
		s.log.Error("a call stays without its answer", "nr", n.nr, "error", errno)
	}
	return engine.Outcome{}
}

// install gives the caller of n the open file fd and lets the call return its
// number. The tracer's own descriptor is closed before the caller runs: else a
// lock, a mount or the end of a pipe would outlive the caller's close.
//
// Where a signal can come between the two steps (Linux before 5.19) it would
// leave the caller with a descriptor that it does not know of. There both are
// done in one step, if the kernel can (5.14); if not, the caller makes its call
// again and is given the same number.
func (s *service) install(n *notification, fd int, closeOnExec bool) (sent bool, value int, errno unix.Errno) {
	add := addition{id: n.id, srcFD: uint32(fd)}
	if closeOnExec {
		add.newFDFlags = unix.O_CLOEXEC
	}
	if !s.can.Atomic && !s.noAddFDSend.Load() {
		add.flags = flagAddFDSend
		// Interrupted, it would leave the call answered with 0.
		interrupt.BlockAll()
		value, errno = s.listener.add(&add)
		_ = interrupt.Block() // it has worked before
		if errno != unix.EINVAL {
			unix.Close(fd)
			return errno == 0, value, errno
		}
		s.noAddFDSend.Store(true)
		add.flags = 0
	}
	if old, ok := s.forgotten.take(n); ok {
		add.flags, add.newFD = flagAddFDSetFD, uint32(old)
	}
	value, errno = s.listener.add(&add)
	unix.Close(fd)
	if errno != 0 {
		return false, 0, errno
	}
	errno = s.listener.send(&response{id: n.id, val: int64(value)})
	if errno == unix.ENOENT && !s.can.Atomic {
		s.forgotten.add(n, value)
	}
	return errno == 0, value, errno
}

// forgotten lists the descriptors that were installed for calls whose callers
// were interrupted before they heard of them, by thread.
type forgotten struct {
	mu    sync.Mutex
	byTID map[uint32]forgottenFD
}

type forgottenFD struct {
	nr   int32
	args [6]uint64
	fd   int
}

// maxForgotten bounds the entries of threads that never call again.
const maxForgotten = 1024

func (f *forgotten) add(n *notification, fd int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byTID == nil || len(f.byTID) >= maxForgotten {
		f.byTID = map[uint32]forgottenFD{}
	}
	f.byTID[n.pid] = forgottenFD{n.nr, n.args, fd}
}

// take gives the number that was installed for the very same call of the thread,
// if that was its last one.
func (f *forgotten) take(n *notification) (int, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, ok := f.byTID[n.pid]
	delete(f.byTID, n.pid)
	return old.fd, ok && old.nr == n.nr && old.args == n.args
}
