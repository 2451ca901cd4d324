package supervise

import (
	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// moves answers the calls that change what a path leads to: chroot, pivot_root,
// and a change of namespaces, with which the credentials change too.
func (w *worker) moves(c *call) engine.Answer {
	w.keepReadable(c)
	_, _ = c.process.Credentials(c.TID) // what they are before tells what they can be after
	a := w.escapes(c)
	c.process.MarkRoot()
	c.process.MarkCredentials()
	return a
}

// changesDirectory answers chdir and fchdir. A caller that is not readable any
// more cannot be asked afterwards where it has gone.
func (w *worker) changesDirectory(c *call) engine.Answer {
	if !c.process.Kept() {
		c.process.MarkCwd(c.TID)
		return engine.Continue()
	}
	dir, err := w.directory(c)
	if err != nil {
		return engine.Continue() // the kernel will not find it either
	}
	defer dir.Close()
	// Going there takes the right to search it.
	if fd, err := unix.Openat(dir.FD, ".", unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
		unix.Close(fd)
		if id, err := process.Identify(dir.FD, ""); err == nil && c.Hold.Valid() {
			c.process.Moved(dir.Path, id)
		}
	}
	return engine.Continue()
}

// directory is the one that a chdir or fchdir is about.
func (w *worker) directory(c *call) (paths.Result, error) {
	if c.Spec.Path == syscalls.None {
		if err := w.become(c); err != nil {
			return paths.Result{FD: -1, ParentFD: -1}, err
		}
		return w.Paths.Resolve(c.process, c.TID, int(int32(c.Args[c.Spec.FD])), "", paths.EmptyPath)
	}
	path, err := w.path(c)
	if err != nil {
		return paths.Result{FD: -1, ParentFD: -1}, err
	}
	return w.resolve(c, path, 0)
}

// changesUser answers the calls that change what a thread may do, or whether it may
// be looked into.
func (w *worker) changesUser(c *call) engine.Answer {
	w.keepReadable(c)
	a := w.escapes(c)
	if c.Spec.ID != syscalls.Prctl {
		c.process.MarkCredentials()
	}
	return a
}

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
