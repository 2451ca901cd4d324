package supervise

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// open answers open, openat, openat2 and creat.
func (w *worker) open(c *call) engine.Answer {
	if c.Spec.ID == syscalls.Openat2 && c.rules.CanDeny(rules.File) {
		return w.open2(c)
	}
	how, err := readHow(c)
	if err != nil {
		return w.unknown(c, err)
	}
	if how.flags&unix.O_PATH != 0 {
		// Such a descriptor neither reads nor writes; to do so it must be opened
		// again, through /proc, which is a call of its own. The kernel's own security
		// hook for opening is not called either.
		return engine.Continue()
	}
	switch could := w.couldDeny(c, how.could()); {
	case could && !w.LetOpensRun:
		return w.carryOut(c, how)
	case could || (c.rules.Wants()|w.Visible())&how.could() != 0:
		return w.observe(c, how)
	}
	return engine.Continue()
}

// open2 answers openat2 while rules can deny opens. Its flags are in the caller's
// memory and may have changed when the kernel reads them, so they do not say
// what can be let run.
func (w *worker) open2(c *call) engine.Answer {
	how, err := readHow(c)
	switch {
	case err != nil:
		return w.unknown(c, err)
	case how.flags&unix.O_PATH != 0 && w.LetOpensRun:
		return engine.Continue()
	case how.flags&unix.O_PATH != 0:
		// A descriptor of this kind cannot be installed. Programs fall back to
		// openat, as on kernels before 5.6.
		return engine.Fail(unix.ENOSYS)
	case w.LetOpensRun:
		return w.observe(c, how)
	}
	return w.carryOut(c, how)
}

// could is what an open with these flags can be; which of it depends on whether
// the file is there.
func (how *openHow) could() rules.Operation {
	switch {
	case how.writes():
		return rules.FileWrite
	case how.flags&unix.O_CREAT != 0:
		return rules.File
	}
	return rules.FileRead
}

// writes says that the open is one for writing even if the file is there.
func (how *openHow) writes() bool {
	return how.flags&unix.O_ACCMODE != unix.O_RDONLY || how.flags&unix.O_TRUNC != 0
}

func (how *openHow) has(flag uint64) bool { return how.flags&flag == flag }

// lookup is how the kernel looks the path up.
func (how *openHow) lookup() paths.Flags {
	flags := paths.FromResolve(how.resolve)
	if how.has(unix.O_NOFOLLOW) || how.has(unix.O_CREAT|unix.O_EXCL) && !how.has(unix.O_TMPFILE) {
		flags |= paths.NoFollow
	}
	if how.has(unix.O_CREAT) {
		return flags | paths.Create
	}
	return flags | paths.Existing
}

// couldDeny says whether a rule could deny the caller an access of a kind,
// whatever the file. A program that is not known may be any rule's source.
func (w *worker) couldDeny(c *call, op rules.Operation) bool {
	if !c.rules.CanDeny(op) {
		return false
	}
	source, err := c.process.Exe()
	return err != nil || c.rules.CouldDeny(op, source, "")
}

// observe answers an open that is let run.
func (w *worker) observe(c *call, how openHow) engine.Answer {
	path, err := w.path(c)
	if err != nil {
		return w.unknownRead(c, err)
	}
	file, err := w.seen(c, path, how.lookup())
	if err != nil {
		return w.unknownRead(c, err)
	}
	if !file.Exists && !how.has(unix.O_CREAT) {
		file.Close()
		return engine.Continue() // it will fail: nothing happens that is to be told of
	}
	defer file.Close()
	a, err := w.fileAccess(c, &file, &how)
	if err != nil {
		return w.unknownRead(c, err)
	}
	if file.Own && how.writes() {
		return engine.Fail(unix.EACCES)
	}
	v := c.rules.Decide(a)
	w.reportOpen(c, a, v, &file, &how)
	if v.Deny {
		return engine.Fail(unix.EACCES)
	}
	c.report.result = predict(w.mayOpen(c, &file, how.flags))
	return engine.Continue()
}

// seen is resolve where nothing but a report depends on the file.
func (w *worker) seen(c *call, path string, flags paths.Flags) (paths.Result, error) {
	if c.rules.Wants()&rules.File == 0 && w.become(c) == nil {
		if file, ok := w.Paths.Recall(c.process, c.TID, path, flags); ok {
			return file, nil
		}
		flags |= paths.Remember
	}
	return w.resolve(c, path, flags)
}

// unknownRead answers an open that could not be examined, where opens are let run.
func (w *worker) unknownRead(c *call, err error) engine.Answer {
	if w.LetOpensRun {
		return w.unknown(c, err)
	}
	if _, ok := kernelsAnswer(err); !ok && c.Hold.Valid() {
		w.warn(exe(c.process), "an open of the workload could not be examined", "call", c.Spec.Name, "error", err)
	}
	return engine.Continue()
}

// fileAccess is an open as the rules see it. It is the worker's, as there is one for each call.
func (w *worker) fileAccess(c *call, file *paths.Result, how *openHow) (a *rules.Access, err error) {
	a = &w.access
	*a = rules.Access{Operation: rules.FileRead, Path: file.Path, PID: c.process.PID(), HasTTY: hasTTY(c.process), Create: !file.Exists}
	if how.writes() || !file.Exists {
		a.Operation = rules.FileWrite
	}
	if uid, err := c.process.UID(c.TID); err == nil {
		a.Owner = ownerOf(file) == uid
	}
	if a.Source, err = c.process.Exe(); err != nil && !c.rules.CanDeny(rules.File) {
		err = nil // the rule that it may be about only tells
	}
	return a, err
}

// ownerOf is the owner of a file, or of the directory that a new one is made in.
func ownerOf(file *paths.Result) int {
	var dir unix.Stat_t
	if file.Exists {
		return file.OwnerUID
	}
	if err := unix.Fstat(file.ParentFD, &dir); err != nil {
		return -1
	}
	return int(dir.Uid)
}

// reportOpen begins the report of an open, if there is to be one.
func (w *worker) reportOpen(c *call, a *rules.Access, v rules.Verdict, file *paths.Result, how *openHow) {
	if !w.reported(v, a.Operation) {
		return
	}
	w.beginReport(c, v)
	r := &c.report
	r.op, r.flags, r.resource = a.Operation, how.flags, a.Path
	if file.Exists {
		r.owner = file.OwnerUID
	}
	r.result = schema.ResultPassed
}

// predict is the Result of a call that is let run.
func predict(permitted bool) string {
	if permitted {
		return schema.ResultPassed
	}
	return schema.ResultPermissionDenied
}

// resultOf is KubeArmor's Result for an error: the C library's words, which Go
// has in lower case.
func resultOf(e unix.Errno) string {
	text := e.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
