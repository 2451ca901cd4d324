package supervise

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// mapsExecutable answers the calls that make memory executable, where somebody asks
// for it: mmap of no file, and mprotect of what is writable or is of no file.
func (w *worker) mapsExecutable(c *call) engine.Answer {
	if c.Spec.ID != syscalls.Mmap && c.Args[2]&unix.PROT_WRITE == 0 {
		anonymous, err := c.process.MapsAnonymous(c.TID, c.Args[0], c.Args[1])
		if err != nil && !errors.Is(err, process.ErrGone) && c.rules.CanDeny(rules.MapExec) {
			return w.unknown(c, err)
		}
		if err == nil && !anonymous {
			return engine.Continue()
		}
	}
	a := rules.Access{Operation: rules.MapExec, HasTTY: hasTTY(c.process)}
	v := c.rules.Decide(&a)
	if w.reported(v, rules.MapExec) {
		w.beginReport(c, v)
		r := &c.report
		r.op, r.detail, r.result = rules.MapExec, c.Spec.Words(&c.Args, c.word), predict(!v.Deny)
	}
	if v.Deny {
		return engine.Fail(unix.EACCES)
	}
	return engine.Continue()
}
