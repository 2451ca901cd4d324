package ptrace

import (
	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// hold is what the service's own thread knows of a caller.
type hold struct {
	service *service
	tid     int
}

// Valid says whether the caller is still stopped: nobody else lets it go on.
func (h hold) Valid() bool {
	_, err := message(h.tid)
	return err == nil
}

// MayWait is false: all stops come to this thread.
func (hold) MayWait() bool { return false }

// Interrupted is not known, and need not be: nothing waits here.
func (hold) Interrupted() bool { return false }

// Lend has the caller send what it has under a descriptor.
func (h hold) Lend(fd int) (int, error) { return h.service.lend(h.tid, fd) }

// answer answers a call.
func (s *service) answer(tid int) {
	r := &s.regs
	if r.get(tid) != nil {
		return // it has been killed
	}
	if h := s.calls[tid]; h != nil && h.aside != nil && s.madeAgain(tid, h) {
		return
	}
	c := &s.call
	c.Spec = s.index.Lookup(r.number())
	if c.Spec == nil {
		// A filter of the workload's own traces the call: nobody is there for it.
		s.give(tid, r, false, -int64(unix.ENOSYS))
		return
	}
	c.TID, c.Args, c.Hold = tid, r.args(), hold{s, tid}
	a, done := s.worker.Handle(c)
	lent := s.lent
	s.lent = nil
	if a.Defers() {
		s.putAside(tid, lent)
		return
	}
	takeBack(lent)
	s.carryOut(tid, c.Spec, r, false, a, done)
}

// carryOut does what an answer says. Of a caller that has begun to wait another call has
// ended in the place of the held one.
func (s *service) carryOut(tid int, spec *syscalls.Spec, r *registers, waited bool, a engine.Answer, done func(engine.Outcome)) {
	h := held{regs: *r, spec: spec, done: done}
	var o engine.Outcome
	fd, closeOnExec, install := a.File()
	switch {
	case install:
		o = s.install(tid, r, waited, fd, closeOnExec)
	case a.Continues() && attaches(r):
		o.Known, o.Errno = true, unix.EPERM
		o.Sent = s.give(tid, r, waited, -int64(unix.EPERM))
	case a.Continues():
		exec := spec.ID == syscalls.Execve || spec.ID == syscalls.Execveat
		if leaderWaits := exec && s.beginExec(tid); leaderWaits || a.Follows() {
			s.follow(tid, &h)
			return
		}
		o.Sent = s.resume(tid, 0)
	default:
		o.Known, o.Result, o.Errno = true, a.Value(), a.Errno()
		value := o.Result
		if o.Errno != 0 {
			value = -int64(o.Errno)
		}
		o.Sent = s.give(tid, r, waited, value)
	}
	h.tell(o)
}

// attaches says whether a call would make the caller another's tracer or tracee, see
// package filter.
func attaches(r *registers) bool {
	if r.number() != unix.SYS_PTRACE {
		return false
	}
	switch int64(r.args()[0]) {
	case unix.PTRACE_TRACEME, unix.PTRACE_ATTACH, unix.PTRACE_SEIZE:
		return true
	}
	return false
}

// give lets a caller go on with value, without the call.
func (s *service) give(tid int, r *registers, waited bool, value int64) bool {
	change := r.skip
	if waited {
		change = r.end
	}
	return change(tid, value) == nil && s.resume(tid, 0)
}

// follow lets a call run and has the caller stop at its end.
func (s *service) follow(tid int, h *held) {
	if request(unix.PTRACE_SYSCALL, tid, 0, 0) != nil {
		s.execEnds(tid)
		h.tell(engine.Outcome{})
		return
	}
	s.calls[tid] = h
}

// Errors of a call that is made again, or fails with EINTR, once signals have been
// handled (include/linux/errno.h). No program sees them.
const (
	restartSys   = -512
	restartBlock = -516
)

// returned deals with the end of a call that is followed.
func (s *service) returned(tid int) {
	h := s.calls[tid]
	if h == nil {
		s.resume(tid, 0)
		return
	}
	if h.aside != nil {
		s.awaited(tid, h)
		return
	}
	delete(s.calls, tid)
	s.execEnds(tid)
	r := &s.regs
	if r.get(tid) != nil {
		h.tell(engine.Outcome{})
		return
	}
	o := engine.Outcome{Sent: true, Held: true}
	const maxErrno = 4095
	switch value := r.result(); {
	case value <= restartSys && value >= restartBlock:
	case value < 0 && value >= -maxErrno:
		o.Known, o.Errno = true, unix.Errno(-value)
	default:
		o.Known, o.Result = true, value
	}
	h.tell(o)
	s.resume(tid, 0)
}
