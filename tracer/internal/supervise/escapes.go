package supervise

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// maxWord is how much of a string that is told is read.
const maxWord = unix.PathMax

// escapes answers a call that gives its caller other rights, or reaches into another
// process, the kernel or out of the container. Its numbers decide, which nobody can
// change any more; what is told of its strings nothing depends on.
func (w *worker) escapes(c *call) engine.Answer {
	errno := c.Spec.Refuse
	if c.aimsAtTracer() {
		errno = unix.EPERM
	}
	if errno == 0 && c.Spec.Capability != syscalls.None && w.needsCapability(c) {
		if denied := w.useCapability(c, c.Spec.Capability); denied {
			return engine.Fail(unix.EPERM)
		}
	}
	w.reportEscape(c, errno)
	if errno != 0 {
		return engine.Fail(errno)
	}
	return engine.Continue()
}

// aimsAtTracer says whether a call acts upon the tracer. As process 1 it takes no
// signal that could end it.
func (c *call) aimsAtTracer() bool {
	if c.Spec.Victim == syscalls.None || !process.IsOwn(int(int32(c.Args[c.Spec.Victim]))) {
		return false
	}
	switch c.Spec.ID {
	case syscalls.Ptrace:
		return uint32(c.Args[0]) != unix.PTRACE_TRACEME
	case syscalls.Kill, syscalls.Tkill, syscalls.Tgkill, syscalls.RtSigqueueinfo, syscalls.RtTgsigqueueinfo:
		return os.Getpid() != 1
	}
	return true
}

// reportEscape begins the report of the call, if there is to be one.
func (w *worker) reportEscape(c *call, errno unix.Errno) {
	signals := c.Spec.State && c.Spec.Victim != syscalls.None // of which only those to the tracer are of interest
	if c.report.due || signals && !process.IsOwn(int(int32(c.Args[c.Spec.Victim]))) || !w.reported(rules.Verdict{}, rules.Syscall) {
		return
	}
	resource, ok := w.reached(c)
	if !ok {
		return // as with opens, nothing is told of what is not there
	}
	w.beginReport(c, rules.Verdict{})
	r := &c.report
	r.op, r.resource, r.detail = rules.Syscall, resource, c.Spec.Words(&c.Args, c.word)
	if c.Spec.ID == syscalls.Ptrace || c.Spec.ID == syscalls.ProcessVMWritev { // which KubeArmor counts as Process
		r.op, r.resource = rules.Process, w.victimsProgram(c)
		r.detail += " process=" + r.resource
	}
	switch {
	case errno != 0:
		r.result = resultOf(errno)
	case c.Spec.Capability != syscalls.None && w.needsCapability(c) && c.lacks(c.Spec.Capability, true):
		r.result = resultOf(unix.EPERM)
	default:
		r.result = schema.ResultPassed
	}
}

// reached is the file that a call names. It is not ok where there is none.
func (w *worker) reached(c *call) (path string, ok bool) {
	if c.Spec.Path == syscalls.None {
		return "", true
	}
	name := c.word(c.Args[c.Spec.Path])
	if c.Spec.ID == syscalls.MemfdCreate {
		return "memfd:" + name, true
	}
	if c.Args[c.Spec.Path] == 0 { // acct may have none
		return "", true
	}
	var t target
	defer t.close()
	if err := w.findFile(c, c.dirfd(), name, &t); err != nil {
		_, answered := kernelsAnswer(err)
		return name, !answered
	}
	return t.path, t.exists()
}

// word reads a string that is only told.
func (c *call) word(addr uint64) string {
	s, _ := c.process.ReadString(c.TID, addr, maxWord)
	return s
}

// victimsProgram is the program of the process that a call acts upon.
func (w *worker) victimsProgram(c *call) string {
	pid := int(int32(c.Args[c.Spec.Victim]))
	if c.Spec.ID == syscalls.Ptrace && uint32(c.Args[0]) == unix.PTRACE_TRACEME {
		pid, _ = c.process.PPID()
	}
	if p, err := w.Processes.Get(pid); err == nil {
		return exe(p)
	}
	return ""
}
