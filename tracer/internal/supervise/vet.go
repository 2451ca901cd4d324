package supervise

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// approval is an exec that was let run: what the rules were asked about.
type approval struct {
	tid    int
	old    string // the program that made it
	access rules.Access
	names  []string // programs that may come of it: the file, and its interpreters
}

// approvals are the execs that have not been looked at again yet. The kernel
// reads the path a second time after the rules have been asked, when another
// thread may have changed it; so the program that came of it is looked at once
// more, at the first held call that it makes. Until then it can open, connect
// and execute nothing.
type approvals struct {
	mu    sync.Mutex
	byPID map[int]approval
}

// maxApprovals is when entries of processes that have ended are looked for.
const maxApprovals = 4096

func (s *approvals) add(pid int, a approval) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPID == nil {
		s.byPID = map[int]approval{}
	}
	if len(s.byPID) >= maxApprovals {
		for pid := range s.byPID {
			if unix.Kill(pid, 0) == unix.ESRCH {
				delete(s.byPID, pid)
			}
		}
	}
	s.byPID[pid] = a
}

func (s *approvals) get(pid int) (approval, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.byPID[pid]
	return a, ok
}

func (s *approvals) remove(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byPID, pid)
}

// vet looks at the program of a process that has made an exec, and kills the
// process if the rules deny it. It reports whether the call at hand may go on.
func (s *Supervisor) vet(c *engine.Call, p *process.Process) bool {
	a, ok := s.approved.get(p.PID())
	if !ok {
		return true
	}
	now, err := p.Exe()
	if err != nil {
		return true // what cannot be examined is dealt with where the call is
	}
	if now == a.old && c.TID != a.tid {
		return true // another thread, while the exec is under way
	}
	s.approved.remove(p.PID())
	if now == a.old || slices.Contains(a.names, now) {
		return true
	}
	a.access.Path = now
	v := s.Rules().Decide(&a.access)
	if !v.Deny || !c.StillHeld() {
		return true
	}
	// The call is held: the process cannot have ended, and its number be another's.
	if err := unix.Kill(p.PID(), unix.SIGKILL); err != nil {
		s.Log.Error("a process that executes a denied program could not be killed", "program", now, "error", err)
	}
	r := s.record(p, c)
	r.Operation, r.ProcessName, r.Source = schema.OperationProcess, now, r.ParentProcessName
	r.Resource, r.Data = joinCommand(now, a.access.Args), "syscall=SYS_EXECVE"
	s.report(r, v, schema.ResultPermissionDenied)
	return false
}
