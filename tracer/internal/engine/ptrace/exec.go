package ptrace

import (
	"maps"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
)

// A thread that executes a program takes the number of its process's leader, without a
// word of the leader's end. A request that is meant for the leader could then be one to
// the new program, which waits at the event of its exec to be looked at. So while a
// thread that is no leader executes a program, what its leader has stopped for waits.

// beginExec takes down that a thread is about to execute a program, and reports whether
// it is one whose leader has to wait.
func (s *service) beginExec(tid int) bool {
	if unix.Tgkill(tid, tid, 0) == nil {
		return false // it is the leader
	}
	st, err := readStatus(tid)
	if err != nil {
		return false // it has been killed
	}
	s.execs[tid] = st.leader
	return true
}

// deferStop keeps the stop of a leader for later.
func (s *service) deferStop(tid int, status unix.WaitStatus, event int) bool {
	if event == unix.PTRACE_EVENT_EXEC || !s.hasToWait(tid) {
		return false
	}
	s.deferred[tid] = func() { s.stop(tid, status) }
	return true
}

// execEnds lets the leader go on after the exec of the thread tid has failed.
func (s *service) execEnds(tid int) {
	leader, ok := s.execs[tid]
	if !ok {
		return
	}
	delete(s.execs, tid)
	if f := s.deferred[leader]; f != nil && !s.hasToWait(leader) {
		delete(s.deferred, leader)
		f()
	}
}

// executed deals with a new program, which has run nothing yet. It is the leader of its
// process now, whichever thread executed it.
func (s *service) executed(leader int) {
	former, err := message(leader)
	if err != nil {
		return // it has been killed
	}
	h := s.calls[former]
	delete(s.calls, former)
	maps.DeleteFunc(s.execs, func(_, of int) bool { return of == leader })
	s.gone(leader)        // the one that was it
	s.scratch[leader] = 0 // it has memory of its own
	if h != nil {
		h.tell(engine.Outcome{Sent: true, Known: true, Held: true})
	}
	s.resume(leader, 0)
}

// hasToWait says whether another thread of the process, of which tid is the leader,
// executes a program.
func (s *service) hasToWait(tid int) bool {
	for _, leader := range s.execs {
		if leader == tid {
			return true
		}
	}
	return false
}
