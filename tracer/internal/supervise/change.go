package supervise

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// change is a call that changes what directories hold, or a file itself, without
// opening it: unlink, rename, chmod and their kind.
type change struct {
	old target // of link and rename; of the others the only one
	new target // of link and rename

	opened bool            // link: old is an open file, named by its descriptor alone
	target string          // symlink: what it leads to
	umask  uint32          // mkdir, mknod
	times  []unix.Timespec // utimensat and its kind: nil for now
	attr   attribute       // setxattr, removexattr
	fsize  uint64          // truncate: the caller's RLIMIT_FSIZE
}

// changes answers the calls that change files. As with opens, those that a rule
// could deny to this program are carried out here: another thread could change the
// path after the check.
func (w *worker) changes(c *call) engine.Answer {
	could := w.couldDeny(c, rules.FileWrite) || w.couldDenyCapability(c)
	if !could && (c.rules.Wants()|w.Visible())&rules.FileWrite == 0 {
		return engine.Continue()
	}
	carry := could && !w.LetOpensRun
	if !c.flagsKnown() {
		if carry {
			return engine.Fail(unix.EINVAL)
		}
		return engine.Continue() // the kernel says so
	}
	var ch change
	defer ch.close()
	if err := w.readChange(c, &ch); err != nil {
		if _, open := c.descriptor(); open && errors.Is(err, process.ErrUnreadable) && c.Hold.Valid() {
			// What a process that has changed its user has open cannot be seen. It was
			// asked about when it was opened.
			return engine.Continue()
		}
		if carry {
			return w.unknown(c, err)
		}
		return w.unknownRead(c, err)
	}
	a, v, err := w.decideChange(c, &ch)
	switch {
	case err != nil && carry:
		return w.unknown(c, err)
	case err != nil:
		return w.unknownRead(c, err)
	case v.Deny:
		w.reportChange(c, &ch, &a, v)
		return engine.Fail(unix.EACCES)
	case w.deniesCapability(c, &ch):
		return engine.Fail(unix.EPERM)
	case carry:
		return w.carryOutChange(c, &ch, &a, v)
	}
	if result, ok := w.predictChange(c, &ch); ok && a.Path != "" {
		w.reportChange(c, &ch, &a, v)
		c.report.result = result
	}
	return engine.Continue()
}

func (ch *change) close() {
	ch.old.close()
	ch.new.close()
}

// ends are the names that a change is about.
func (ch *change) ends() []*target {
	if ch.new.path == "" {
		return []*target{&ch.old}
	}
	return []*target{&ch.old, &ch.new}
}

// decideChange asks the rules about each name. The access is the one that the
// verdict is about.
func (w *worker) decideChange(c *call, ch *change) (a rules.Access, v rules.Verdict, err error) {
	for i, t := range ch.ends() {
		if t.special() {
			continue
		}
		one, err := w.changeAccess(c, t)
		if err != nil {
			return a, v, err
		}
		decide := c.rules.Decide
		if t.kind() == unix.S_IFDIR && c.moves(i) {
			decide = c.rules.DecideMove
		}
		said := decide(&one)
		if a.Path == "" || said.Deny || said.Alert && !v.Alert {
			a, v = one, said
		}
		if v.Deny {
			break
		}
	}
	return a, v, nil
}

// moves says whether what the end i of the call names gets another name.
func (c *call) moves(end int) bool {
	switch c.Spec.ID {
	case syscalls.Rename, syscalls.Renameat:
		return end == 0
	case syscalls.Renameat2:
		return end == 0 || c.flags()&unix.RENAME_EXCHANGE != 0
	}
	return false
}

func (w *worker) changeAccess(c *call, t *target) (a rules.Access, err error) {
	a = rules.Access{Operation: rules.FileWrite, Path: t.path, PID: c.process.PID(), HasTTY: hasTTY(c.process), Create: !t.exists()}
	if uid, err := c.process.UID(c.TID); err == nil {
		a.Owner = t.owner() == uid
	}
	if a.Source, err = c.process.Exe(); err != nil && !c.rules.CanDeny(rules.File) {
		err = nil // the rule that it may be about only tells
	}
	return a, err
}

func (w *worker) reportChange(c *call, ch *change, a *rules.Access, v rules.Verdict) {
	if c.report.due || !w.reported(v, rules.FileWrite) {
		return
	}
	w.beginReport(c, v)
	r := &c.report
	r.op, r.resource, r.result = rules.FileWrite, a.Path, schema.ResultPassed
	if ch.old.exists() {
		r.owner = ch.old.owner()
	}
	switch {
	case ch.new.path != "" && a.Path == ch.new.path:
		r.detail = " oldpath=" + ch.old.path
	case ch.new.path != "":
		r.detail = " newpath=" + ch.new.path
	case ch.target != "":
		r.detail = " target=" + ch.target
	case c.Spec.Attr != syscalls.None:
		r.detail = " name=" + ch.attr.name
	}
}

// carryOutChange makes the change in the place of the caller.
func (w *worker) carryOutChange(c *call, ch *change, a *rules.Access, v rules.Verdict) engine.Answer {
	domain, err := w.domainOf(c)
	if err != nil {
		return w.unknown(c, err)
	}
	if ch.old.own() || ch.new.own() {
		return engine.Fail(unix.EACCES)
	}
	if !c.Hold.Valid() {
		return engine.Answer{} // what was read may not be the caller's
	}
	w.reportChange(c, ch, a, v)
	carry := func() error { return ch.carry(c, w.Paths.Descriptors()) }
	if domain == nil {
		err = carry()
	} else {
		err = domain.as(c, carry)
	}
	if err == nil {
		return engine.Return(0)
	}
	if errors.Is(err, process.ErrGone) {
		return engine.Answer{}
	}
	return w.failed(c, err)
}

// predictChange says how a change will end that is let run, as far as permission
// bits tell. It is not ok for one that finds nothing.
func (w *worker) predictChange(c *call, ch *change) (result string, ok bool) {
	last := &ch.old
	if ch.new.path != "" {
		last = &ch.new
	}
	switch {
	case !ch.old.exists() && !c.makes():
		return "", false
	case last.exists() && (c.makes() || c.links()):
		return resultOf(unix.EEXIST), true
	}
	for _, t := range ch.ends() {
		if !w.mayChange(c, t) {
			return schema.ResultPermissionDenied, true
		}
	}
	return schema.ResultPassed, true
}

// makes says whether the call makes what its name is for.
func (c *call) makes() bool {
	switch c.Spec.ID {
	case syscalls.Mkdir, syscalls.Mkdirat, syscalls.Mknod, syscalls.Mknodat, syscalls.Symlink, syscalls.Symlinkat:
		return true
	}
	return false
}

// links says whether the call may not replace what has its second name.
func (c *call) links() bool {
	switch c.Spec.ID {
	case syscalls.Link, syscalls.Linkat:
		return true
	case syscalls.Renameat2:
		return c.flags()&unix.RENAME_NOREPLACE != 0
	}
	return false
}

// mayChange says whether the caller may change a directory, or a file.
func (w *worker) mayChange(c *call, t *target) bool {
	if t.entry {
		return w.mayAccess(c, &t.file, unix.W_OK|unix.X_OK)
	}
	if c.Spec.ID == syscalls.Truncate {
		return w.mayAccess(c, &t.file, unix.W_OK)
	}
	if c.Spec.ID == syscalls.Link || c.Spec.ID == syscalls.Linkat {
		return true
	}
	if c.Spec.Attr != syscalls.None || c.Spec.Times != syscalls.None && c.Args[c.Spec.Times] == 0 {
		if w.mayAccess(c, &t.file, unix.W_OK) {
			return true
		}
	}
	cred, err := c.process.Credentials(c.TID)
	const fowner, chown = 1 << unix.CAP_FOWNER, 1 << unix.CAP_CHOWN
	return err != nil || cred.FSUID == t.file.OwnerUID || cred.CapEff&(fowner|chown) != 0
}
