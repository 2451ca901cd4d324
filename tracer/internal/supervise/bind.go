package supervise

import (
	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
)

// bind answers bind. Given a path it makes a file, which file rules are about as well.
func (w *worker) bind(c *call) engine.Answer {
	if c.rules.Wants()&rules.FileWrite != 0 {
		switch denied, err := w.makesSocket(c); {
		case err != nil && w.couldDeny(c, rules.FileWrite):
			return w.unknown(c, err)
		case denied:
			return engine.Fail(unix.EACCES)
		}
	}
	return w.withAddress(c, c.Args[c.Spec.Addr], c.Args[c.Spec.Addr+1], w.carryBind)
}

// makesSocket asks the rules about the file that a bind makes. The bind is let run: a
// thread that changes the path can have a socket made elsewhere, which holds nothing
// and replaces nothing.
func (w *worker) makesSocket(c *call) (denied bool, err error) {
	to, err := readSockaddr(c, c.Args[c.Spec.Addr], c.Args[c.Spec.Addr+1])
	if err != nil || to.family != "AF_UNIX" || len(to.raw) < 3 || to.raw[2] == 0 {
		return false, err
	}
	t := target{entry: true}
	defer t.close()
	if err := w.findEntry(c, unix.AT_FDCWD, to.path, &t); err != nil || t.exists() || t.special() {
		return false, err // the kernel fails it
	}
	a, err := w.changeAccess(c, &t)
	if err != nil {
		return false, err
	}
	v := c.rules.Decide(&a)
	if !v.Alert || !c.Hold.Valid() {
		return v.Deny, nil
	}
	w.beginReport(c, v)
	r := &c.report
	r.op, r.resource, r.result, r.owner = rules.FileWrite, a.Path, schema.ResultPassed, t.owner()
	if v.Deny {
		r.result = schema.ResultPermissionDenied
	}
	return v.Deny, nil
}
