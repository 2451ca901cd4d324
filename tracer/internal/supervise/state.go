package supervise

import (
	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// moves answers the calls that change what a path leads to: chroot, pivot_root,
// and a change of namespaces, with which the credentials change too.
func (w *worker) moves(c *call) engine.Answer {
	w.keepReadable(c)
	c.process.MarkRoot()
	c.process.MarkCredentials()
	return engine.Continue()
}

// changesUser answers the calls that change what a thread may do.
func (w *worker) changesUser(c *call) engine.Answer {
	w.keepReadable(c)
	c.process.MarkCredentials()
	return engine.Continue()
}

// changesDumpable answers prctl(PR_SET_DUMPABLE).
func (w *worker) changesDumpable(c *call) engine.Answer {
	w.keepReadable(c)
	return engine.Continue()
}

// starts answers a call that programs make as they start. What there was to do
// about it has been done.
func (w *worker) starts(*call) engine.Answer { return engine.Continue() }

// aims answers a call that acts upon another thread: not upon one of the
// tracer's.
func (w *worker) aims(c *call) engine.Answer {
	if victim := int(int32(c.Args[c.Spec.Victim])); c.namesThread() && process.IsOwn(victim) {
		return engine.Fail(unix.EPERM)
	}
	return engine.Continue()
}

// namesThread says whether the victim of a call is a thread, not a group or a user.
func (c *call) namesThread() bool {
	if c.Spec.Which == syscalls.None {
		return true
	}
	switch which := uint64(uint32(c.Args[c.Spec.Which])); c.Spec.ID {
	case syscalls.Setpriority:
		return which == syscalls.PrioProcess
	case syscalls.IoprioSet:
		return which == syscalls.IoprioProcess
	}
	return true
}

// keepReadable keeps what the kernel may refuse to tell once the user has changed,
// or the process is not dumpable.
func (w *worker) keepReadable(c *call) {
	if err := c.process.KeepMemory(c.TID); err != nil && c.Hold.Valid() {
		w.warn(exe(c.process), "a process may become unreadable", "call", c.Spec.Name, "error", err)
	}
}
