package supervise

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// verification is an exec that the rules allowed and that was let run. The kernel
// reads the path a second time after the rules were asked, when another thread
// may have changed it. So the caller is traced for the length of the call: at
// PTRACE_EVENT_EXEC the new program stands and has not run, and what it is can be
// compared with what was allowed.
type verification struct {
	path     string // as it stood in the caller's memory
	access   rules.Access
	programs []program // that may come of it
	trace    Trace
}

// ptraceEventStop is PTRACE_EVENT_STOP, which x/sys lacks.
const ptraceEventStop = 128

// prepareToVerify sees to it that what comes of the exec is looked at.
func (w *worker) prepareToVerify(c *call, path string, a *rules.Access, programs []program) {
	v := &verification{path: path, access: *a, programs: programs}
	if w.Can.Follow {
		c.verify = v
		return
	}
	if w.Trace == nil || !v.seize(w, c) {
		w.approve(c, v)
		c.approved = true
		return
	}
	c.verify = v
}

// refusedTrace says whether an exec must be refused because another process traces
// the caller: then this one cannot, and while opens are not held the program that
// comes of the exec may never make a held call at which it could be looked at.
func (w *worker) refusedTrace(c *call) bool {
	if !c.approved || c.rules.CanDeny(rules.File) {
		return false
	}
	tracer, err := c.process.TracedBy(c.TID)
	if err != nil || tracer == 0 {
		return false
	}
	w.warn(exe(c.process), "a process that is traced by another may not execute a program while a rule could deny that: what it executes could not be looked at", "tracer", tracer)
	return true
}

// follow waits while another thread's exec in the same process is followed: it
// ends this one, or has failed.
func (w *worker) follow(c *call) (Trace, bool) {
	for range maxFollow {
		if t, ok := w.Trace(c.TID, c.process.PID()); ok {
			return t, true
		}
		if !c.Hold.MayWait() || !c.Hold.Valid() {
			return nil, false
		}
		time.Sleep(time.Millisecond)
	}
	return nil, false
}

// maxFollow bounds, in milliseconds, how long an exec waits for another.
const maxFollow = 10000

// seize makes this thread the caller's tracer. That is refused where another
// traces it already, and for a process that has changed its user while the tracer
// lacks CAP_SYS_PTRACE.
func (v *verification) seize(w *worker, c *call) bool {
	var ok bool
	if v.trace, ok = w.follow(c); !ok {
		return false
	}
	if err := c.process.Attach(c.TID, func() error { return ptrace(unix.PTRACE_SEIZE, c.TID, unix.PTRACE_O_TRACEEXEC) }); err != nil {
		v.trace.Release()
		return false
	}
	// The thread stops as it returns from the call: then the exec has failed.
	_ = ptrace(unix.PTRACE_INTERRUPT, c.TID, 0) // ESRCH: it is dead
	return true
}

// verifyHeld looks at what came of an exec that the engine follows.
func (w *worker) verifyHeld(c *call, o engine.Outcome) {
	if o.Known && o.Errno == 0 && !w.approvedImage(c, c.process.PID()) {
		_ = unix.Kill(c.process.PID(), unix.SIGKILL) // it has executed nothing; ESRCH: it is dead
	}
}

// verifyExec looks at what came of an exec, and says how the call ended.
func (w *worker) verifyExec(c *call, o engine.Outcome) engine.Outcome {
	v := c.verify
	defer v.trace.Release()
	tid, status := v.trace.Next()
	switch {
	case status.Exited() || status.Signaled():
	case status.TrapCause() == unix.PTRACE_EVENT_EXEC:
		if !w.approvedImage(c, tid) {
			_ = unix.Kill(tid, unix.SIGKILL) // it has executed nothing; ESRCH: it is dead
		}
		v.detach(tid, 0)
		o.Known = true
	case int(uint32(status)>>16) == ptraceEventStop:
		if errno, ok := failure(tid); ok && o.Sent {
			o.Known, o.Errno = true, errno
		}
		v.detach(tid, 0)
	default: // a signal that it is about to get
		v.detach(tid, status.StopSignal())
	}
	return o
}

// detach lets a thread that has stopped go on by itself, with a signal that it was
// about to get. One that has been killed stays the tracer's to wait for: before
// that, nobody else is told of its end.
func (v *verification) detach(tid int, sig unix.Signal) {
	for ptrace(unix.PTRACE_DETACH, tid, uintptr(sig)) == unix.ESRCH {
		var status unix.WaitStatus
		if tid, status = v.trace.Next(); !status.Stopped() {
			return
		}
		sig = 0
	}
}

// approvedImage says whether the program that the process pid has just come to run
// may run. If not, the report is about that.
func (w *worker) approvedImage(c *call, pid int) bool {
	p, v := c.process, c.verify
	now, err := p.ImageFile()
	is := func(g program) bool { return g.dev == now.Dev && g.ino == now.Ino }
	if err == nil && is(v.programs[0]) {
		return w.approvedArguments(c)
	}
	name, now, err := p.Image()
	if err != nil {
		w.warn(v.access.Path, "a program that was executed could not be looked at", "error", err)
		return errors.Is(err, process.ErrGone)
	}
	// An interpreter runs: of the script that was looked at, or of another one.
	if script, err := w.executed(c); err == nil && script == v.path && slices.ContainsFunc(v.programs, is) {
		return true
	} else if err == nil {
		if verdict, deny := w.decideScript(c, script); deny {
			w.reportKilled(c, verdict, script)
			return false
		}
	}
	a := v.access
	a.Path = name
	if verdict := c.decideProgram(&a, false); verdict.Deny {
		w.reportKilled(c, verdict, name)
		return false
	}
	return true
}

// approvedArguments asks again where the program has got other arguments than those
// that were looked at.
func (w *worker) approvedArguments(c *call) bool {
	args, err := c.process.Arguments()
	if err != nil || len(args) == 0 {
		return true
	}
	a := c.verify.access
	if now := args[1:]; !slices.Equal(now, a.Args[:min(len(now), len(a.Args))]) {
		a.Args = now
		if v := c.decideProgram(&a, false); v.Deny {
			w.reportKilled(c, v, a.Path)
			return false
		}
	}
	return true
}

// decideScript asks about the file that was executed, as it is named now.
func (w *worker) decideScript(c *call, path string) (rules.Verdict, bool) {
	file, err := w.Paths.Resolve(c.process, c.TID, unix.AT_FDCWD, path, 0)
	if err != nil || !file.Exists {
		return rules.Verdict{}, false // a name like /dev/fd/3 of an execveat that has closed it
	}
	defer file.Close()
	a := c.verify.access
	a.Path = file.Path
	v, _ := w.decideExec(c, &file, &a)
	return v, v.Deny
}

// reportKilled makes the report one of a denied program.
func (w *worker) reportKilled(c *call, v rules.Verdict, path string) {
	r := &c.report
	if !r.due {
		r.due, r.at, r.spec, r.callArg, r.op = true, w.Now(), c.Spec, c.Args, rules.Process
		r.take(c)
		r.parentIs(c.verify.access.ParentSource)
		r.args = c.verify.access.Args
	}
	r.verdict, r.program, r.denied = v, path, true
}

// atExecFn is AT_EXECFN (getauxval(3)): the address of the name that was executed.
const atExecFn = 31

// executed is the name that the kernel was given for the present program.
func (w *worker) executed(c *call) (string, error) {
	aux, err := c.process.AuxiliaryVector()
	if err != nil {
		return "", err
	}
	for ; len(aux) >= 16; aux = aux[16:] {
		if binary.NativeEndian.Uint64(aux) == atExecFn {
			return c.process.ReadString(c.process.PID(), binary.NativeEndian.Uint64(aux[8:]), unix.PathMax)
		}
	}
	return "", unix.ENODATA
}

func ptrace(request, tid int, data uintptr) error {
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// failure is the error with which a stopped thread returns from its call.
func failure(tid int) (unix.Errno, bool) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return 0, false
	}
	const maxErrno = 4095
	value := returnValue(&regs)
	return unix.Errno(-value), value < 0 && value >= -maxErrno
}
