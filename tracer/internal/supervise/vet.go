package supervise

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// approval is an exec that was let run and that the kernel does not let the tracer
// follow by ptrace. The program that comes of it is looked at at the first held
// call that it makes, or that a process makes which it forked before: until then
// it can open, connect and execute nothing that is held.
type approval struct {
	number   uint64 // it is the one that was made
	tid      int
	since    uint64 // clock ticks since boot
	old      string // the program that made it
	unseen   bool   // not even the path could be read
	access   rules.Access
	programs []program
}

// approvals are those that have not been looked at yet, by process.
type approvals struct {
	some   atomic.Int32 // of either kind
	mu     sync.Mutex
	byPID  map[int]approval
	made   uint64
	denied []deniedImage
}

// deniedImage is a program that was found running although it is denied. What it
// has forked by then is denied as well.
type deniedImage struct {
	program
	since uint64 // clock ticks since boot
	until time.Time
}

// deniedFor is how long the children of a denied program are looked for.
const deniedFor = 10 * time.Second

// deny remembers a denied program.
func (s *approvals) deny(g program, since uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = append(s.denied, deniedImage{g, since, now.Add(deniedFor)})
	s.count()
}

// isDenied says whether a process that began at start runs a denied program.
func (s *approvals) isDenied(id process.Identity, start uint64, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denied = slices.DeleteFunc(s.denied, func(d deniedImage) bool { return now.After(d.until) })
	s.count()
	return slices.ContainsFunc(s.denied, func(d deniedImage) bool { return d.dev == id.Dev && d.ino == id.Ino && start >= d.since })
}

func (s *approvals) count() { s.some.Store(int32(len(s.byPID) + len(s.denied))) }

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
	s.made++
	a.number = s.made
	s.byPID[pid] = a
	s.count()
}

func (s *approvals) get(pid int) (approval, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.byPID[pid]
	return a, ok
}

// take removes an approval, and says whether it was still there: the process may
// have made another exec since, and its calls are looked at by several workers.
func (s *approvals) take(pid int, a *approval) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, ok := s.byPID[pid]; !ok || now.number != a.number {
		return false
	}
	delete(s.byPID, pid)
	s.count()
	return true
}

// remove removes the approval of a process whose exec is not let run.
func (s *approvals) remove(pid int) {
	if a, ok := s.get(pid); ok {
		s.take(pid, &a)
	}
}

// approve remembers an exec that cannot be followed.
func (w *worker) approve(c *call, v *verification) {
	w.approved.add(c.process.PID(), approval{tid: c.TID, since: process.Ticks(), old: v.access.Source, access: v.access, programs: v.programs})
}

// approveUnseen remembers an exec of a caller that cannot be read.
func (w *worker) approveUnseen(c *call) {
	a := approval{tid: c.TID, since: process.Ticks(), unseen: true, access: rules.Access{Operation: rules.Process}}
	a.access.Source, _ = c.process.Exe()
	a.access.ParentSource, _ = c.process.Forker()
	if a.old = a.access.Source; a.old == "" {
		a.access.Source = a.access.ParentSource
	}
	w.approved.add(c.process.PID(), a)
}

// vet looks at the program of a process that has made an exec, and kills the
// process if the rules deny it. It reports whether the call at hand may go on.
func (w *worker) vet(c *call) bool {
	if w.approved.some.Load() == 0 {
		return true
	}
	p := c.process
	a, forked, ok := w.approvalOf(p)
	if !ok {
		return w.vetForked(c)
	}
	name, id, err := p.Image()
	if err != nil {
		return true // what cannot be examined is dealt with where the call is
	}
	if name == a.old && (forked || c.TID != a.tid) {
		return true // another thread, while the exec is under way
	}
	if name == a.old && !a.unseen || slices.ContainsFunc(a.programs, func(g program) bool { return g.dev == id.Dev && g.ino == id.Ino }) {
		if !forked {
			w.approved.take(p.PID(), &a)
		}
		return true
	}
	return w.judge(c, &a, name, id, forked)
}

const (
	// imageSpin is how long an exec that cannot be followed is looked at without a
	// pause: the new program can be seen while the kernel still sets it up. Then
	// come pauses, up to imageWait in all. The program is looked at at its first
	// held call in any case.
	imageSpin  = 2 * time.Millisecond
	imagePause = 50 * time.Microsecond
	imageWait  = 500 * time.Millisecond
)

// awaitImage looks at what comes of an exec that cannot be followed, as soon as it
// can be seen: a program need not make a held call for long.
func (w *worker) awaitImage(c *call) {
	_ = c.Hold.MayWait() // the call has been answered
	p := c.process
	for start := time.Now(); time.Since(start) < imageWait; {
		a, ok := w.approved.get(p.PID())
		if !ok {
			return // it has been looked at
		}
		name, _, err := p.Image()
		switch {
		case err == nil && name != a.old:
			w.vet(c)
			return
		case errors.Is(err, process.ErrGone):
			w.approved.take(p.PID(), &a)
			return
		}
		if time.Since(start) > imageSpin {
			time.Sleep(imagePause)
		}
	}
}

// vetHeld looks at what has come of an exec that could not be examined, before it runs.
func (w *worker) vetHeld(c *call, o engine.Outcome) {
	if !o.Known || o.Errno != 0 {
		w.approved.remove(c.process.PID())
		return
	}
	w.vet(c)
}

// vetForked looks at a process that was forked, maybe by a denied program that has
// been killed since.
func (w *worker) vetForked(c *call) bool {
	forked, err := c.process.Forked()
	if err != nil || !forked {
		return true
	}
	start, startErr := c.process.StartTime()
	_, id, err := c.process.Image()
	if err != nil || startErr != nil || !w.approved.isDenied(id, start, w.Now()) {
		return true
	}
	_ = c.process.Signal(unix.SIGKILL) // ESRCH: it is dead
	return false
}

// approvalOf finds the approval of a process, or of its parent if it was forked by
// the program in question.
func (w *worker) approvalOf(p *process.Process) (a approval, forked, ok bool) {
	if a, ok = w.approved.get(p.PID()); ok {
		return a, false, true
	}
	if forked, err := p.Forked(); err != nil || !forked {
		return approval{}, false, false
	}
	ppid, err := p.PPID()
	if err != nil {
		return approval{}, false, false
	}
	a, ok = w.approved.get(ppid)
	return a, true, ok
}

// judge asks the rules about the program that came of an exec, and tells of it,
// once. What is denied is remembered before the approval is removed: a call that
// another worker answers meanwhile finds one of the two.
func (w *worker) judge(c *call, a *approval, name string, id process.Identity, forked bool) bool {
	a.access.Path = name
	if a.unseen {
		if args, err := c.process.Args(); err == nil && len(args) > 1 {
			a.access.Args = args[1:]
		}
	}
	v := c.decideProgram(&a.access, false)
	if v.Deny {
		w.approved.deny(program{name, id.Dev, id.Ino}, a.since, w.Now())
		if err := c.process.Signal(unix.SIGKILL); err != nil && err != unix.ESRCH {
			w.Log.Error("a process that executes a denied program could not be killed", "program", name, "error", err)
		}
	}
	first := forked || w.approved.take(c.process.PID(), a)
	if !v.Deny && !a.unseen {
		return true
	}
	if first && w.reported(v, rules.Process) {
		r := report{
			due: true, verdict: v, at: w.Now(), spec: execSpec(), op: rules.Process,
			program: name, args: a.access.Args, result: predict(!v.Deny),
		}
		if v.Deny {
			r.result = schema.ResultPermissionDenied
		}
		r.take(c)
		r.parentIs(a.access.ParentSource)
		w.tell(&r)
	}
	return !v.Deny
}
