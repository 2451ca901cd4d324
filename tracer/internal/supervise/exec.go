package supervise

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

const (
	maxArgs      = 1024     // arguments of an exec that are read; the kernel takes far more
	maxArgsBytes = 16 << 10 // and their bytes
	maxScripts   = 5        // a script's interpreter may be a script: the kernel's limit (fs/exec.c)
)

// program is a file that an exec is about.
type program struct {
	path     string
	dev, ino uint64
}

// exec answers execve and execveat.
func (w *worker) exec(c *call) engine.Answer {
	if (c.rules.Wants()&(rules.Process|rules.File))|w.Visible()&rules.Process == 0 {
		c.process.MarkExec(c.TID)
		return engine.Continue()
	}
	path, err := w.path(c)
	if err != nil {
		return w.unknownExec(c, err)
	}
	file, err := w.resolve(c, path, lookupFlags(c.flags()))
	if err != nil {
		return w.unknownExec(c, err)
	}
	defer file.Close()
	switch {
	case !file.Exists:
		return w.execFails(c, unix.ENOENT)
	case file.Type == unix.S_IFLNK: // AT_SYMLINK_NOFOLLOW
		return w.execFails(c, unix.ELOOP)
	case file.Type != unix.S_IFREG:
		return w.execFails(c, unix.EACCES)
	}
	return w.execFile(c, path, &file)
}

// execFile answers an exec of a file that is there.
func (w *worker) execFile(c *call, path string, file *paths.Result) engine.Answer {
	a, err := w.execAccess(c, file)
	if err != nil {
		return w.unknownExec(c, err)
	}
	v, programs := w.decideExec(c, file, &a)
	w.reportExec(c, &a, v)
	if v.Deny {
		return engine.Fail(unix.EACCES)
	}
	c.report.result = predict(w.mayAccess(c, file, unix.X_OK))
	if c.rules.CanDeny(rules.Process | rules.File) {
		w.prepareToVerify(c, path, &a, programs)
		if w.refusedTrace(c) {
			w.approved.remove(c.process.PID())
			return engine.Fail(unix.EACCES)
		}
	}
	c.process.MarkExec(c.TID)
	if c.verify != nil {
		return engine.Continue().Follow()
	}
	return engine.Continue()
}

// execAccess is an exec as the rules see it.
func (w *worker) execAccess(c *call, file *paths.Result) (a rules.Access, err error) {
	argv, cut, err := c.process.ReadStrings(c.TID, c.Args[c.Spec.Argv], maxArgs, maxArgsBytes)
	if err != nil {
		return a, err
	}
	a = rules.Access{Operation: rules.Process, Path: file.Path, HasTTY: hasTTY(c.process), ArgsCut: cut}
	if a.Source, err = c.process.Exe(); err != nil && c.rules.CanDeny(rules.Process|rules.File) {
		return a, err
	}
	a.ParentSource, _ = c.process.Forker()
	if uid, err := c.process.UID(c.TID); err == nil {
		a.Owner = file.OwnerUID == uid
	}
	if len(argv) > 1 {
		a.Args = argv[1:]
	}
	return a, nil
}

// lookupFlags is how AT_ flags have a path looked up.
func lookupFlags(atFlags uint64) (f paths.Flags) {
	if atFlags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		f |= paths.NoFollow
	}
	if atFlags&unix.AT_EMPTY_PATH != 0 {
		f |= paths.EmptyPath
	}
	return f
}

// execFails answers an exec that cannot succeed.
func (w *worker) execFails(c *call, e unix.Errno) engine.Answer {
	if c.rules.CanDeny(rules.Process | rules.File) {
		return engine.Fail(e)
	}
	c.process.MarkExec(c.TID)
	return engine.Continue()
}

// unknownExec answers an exec that could not be examined. A caller that cannot be
// read, because it has changed its user and the tracer lacks CAP_SYS_PTRACE, is
// let go on: what comes of the exec can be looked at afterwards.
func (w *worker) unknownExec(c *call, err error) engine.Answer {
	if errors.Is(err, process.ErrUnreadable) && c.Hold.Valid() {
		w.approveUnseen(c)
		c.approved = true
		c.process.MarkExec(c.TID)
		return engine.Continue().Follow()
	}
	if e, ok := kernelsAnswer(err); ok {
		return w.execFails(c, e)
	}
	a := w.unknown(c, err)
	if a.Continues() {
		c.process.MarkExec(c.TID)
	}
	return a
}

// decideExec asks the rules about the program, about the interpreters that the
// kernel will run in its place and about the loader that it will map beside it,
// as the kernel's own hooks are called for each. A program is a file as well: a
// file rule that denies reading it denies executing it. a.Path becomes the file
// that the verdict is about; programs are those that the process may come to run.
func (w *worker) decideExec(c *call, file *paths.Result, a *rules.Access) (v rules.Verdict, programs []program) {
	first := *a
	for range maxScripts + 1 {
		next := first
		next.Path = file.Path
		if iv := c.decideProgram(&next, false); len(programs) == 0 || iv.Deny || iv.Alert && !v.Alert {
			v, a.Path = iv, next.Path
		}
		programs = append(programs, program{file.Path, file.Dev, file.Ino})
		if v.Deny || c.rules.Wants()&(rules.Process|rules.File) == 0 {
			break
		}
		name, script := interpreter(w.Paths, file, c.rules.Wants()&rules.File != 0)
		if name == "" {
			break
		}
		found, err := w.Paths.Resolve(c.process, c.TID, unix.AT_FDCWD, name, 0)
		if err != nil || !found.Exists {
			break // the exec will fail
		}
		defer found.Close()
		if !script {
			loader := first
			loader.Path = found.Path
			if lv := c.decideProgram(&loader, true); lv.Deny {
				v, a.Path = lv, loader.Path
			}
			break
		}
		file = &found
	}
	return v, programs
}

// decideProgram asks about one file that an exec is about. A loader is mapped,
// not executed: process rules are not about it.
func (c *call) decideProgram(a *rules.Access, loader bool) (v rules.Verdict) {
	if !loader {
		v = c.rules.Decide(a)
	}
	if v.Deny || c.rules.Wants()&rules.File == 0 {
		return v
	}
	open := *a
	open.Operation = rules.FileRead
	if fv := c.rules.Decide(&open); fv.Deny {
		return fv
	}
	return v
}

// reportExec begins the report of an exec, if there is to be one.
func (w *worker) reportExec(c *call, a *rules.Access, v rules.Verdict) {
	if !w.reported(v, rules.Process) {
		return
	}
	w.beginReport(c, v)
	r := &c.report
	r.op, r.flags, r.program, r.args = rules.Process, c.flags(), a.Path, a.Args
	r.parentIs(a.ParentSource)
}

// joinCommand writes a program and its arguments as KubeArmor does, by spaces.
func joinCommand(path string, args []string) string {
	if len(args) == 0 {
		return path
	}
	return path + " " + strings.Join(args, " ")
}

// comm is the name that the kernel gives a process that executes path: the last
// component, 15 bytes of it.
func comm(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return name[:min(len(name), 15)]
}

// execSpec is the row of execve, for the report of an exec that is looked at later.
func execSpec() *syscalls.Spec { return &syscalls.Table()[syscalls.Execve] }
