// Package supervise answers the calls that an engine holds: it decodes them,
// finds out who calls and what is meant, asks the rules, and reports what
// happened. It neither holds calls itself nor sends what it reports.
package supervise

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// Options are what a Supervisor works with. All fields are needed.
type Options struct {
	Processes *process.Table
	Paths     *paths.Resolver
	Rules     func() *rules.Rules  // the rules in force; called for every call
	Origin    func() schema.Origin // who this container is, as far as known
	Emit      func(e schema.Event) // must not block
	Visible   rules.Operation      // classes whose accesses are logged when no policy matches
	Now       func() time.Time     // the clock of events
	Log       *slog.Logger
}

// Supervisor is the handler of held calls.
type Supervisor struct {
	Options

	approved approvals

	mu     sync.Mutex
	warned map[string]bool // programs whose calls could not be understood, said once each
}

// New makes a supervisor.
func New(o Options) *Supervisor { return &Supervisor{Options: o, warned: map[string]bool{}} }

// Handle answers one call.
func (s *Supervisor) Handle(c *engine.Call) engine.Answer {
	p, err := s.Processes.Get(c.TID)
	if err != nil {
		return s.unknown(c, nil, err)
	}
	if !s.vet(c, p) {
		return engine.Answer{Errno: unix.EACCES}
	}
	switch c.Spec.Op {
	case rules.Process:
		return s.exec(c, p)
	case rules.File, rules.FileWrite:
		return s.open(c, p)
	case rules.Network:
		if c.Spec.Addr != syscalls.None {
			return s.connect(c, p)
		}
	default:
		s.stateChange(c, p)
	}
	return engine.Answer{}
}

// stateChange notes that a fact about the process is about to change.
func (s *Supervisor) stateChange(c *engine.Call, p *process.Process) {
	if c.Spec.Victim != syscalls.None {
		return // it changes no fact that is kept
	}
	switch c.Spec.ID {
	case syscalls.Chroot, syscalls.PivotRoot:
		p.MarkRoot()
		return
	case syscalls.Unshare, syscalls.Setns:
		p.MarkRoot() // and credentials, where it is a user namespace
	case syscalls.SetTidAddress, syscalls.SchedGetaffinity, syscalls.LandlockCreateRuleset, syscalls.LandlockRestrictSelf:
		return // a program starts; what there was to do about it has been done
	}
	// Once the uid has changed, or the process is not dumpable, the kernel may
	// refuse its memory.
	if err := p.KeepMemory(c.TID); err != nil && c.StillHeld() {
		s.Log.Log(context.Background(), s.level(exe(p)), "a process may become unreadable", "call", c.Spec.Name, "program", exe(p), "error", err)
	}
	if c.Spec.ID != syscalls.SetDumpable {
		p.MarkCredentials()
	}
}

// unknown answers a call that could not be understood: the caller cannot be
// looked at, its memory not be read, or its path leads nowhere. A caller that is
// gone needs nothing. The kernel would fail most such calls by itself, but where
// a rule could deny they are failed here, with the kernel's own error: the
// address may be mapped, or the path lead somewhere, by the time that the kernel
// looks.
func (s *Supervisor) unknown(c *engine.Call, p *process.Process, err error) engine.Answer {
	for _, e := range []unix.Errno{unix.EFAULT, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EBADF, unix.EXDEV, unix.EINVAL} {
		if errors.Is(err, e) {
			return s.fails(c, e)
		}
	}
	unreadable := errors.Is(err, process.ErrUnreadable)
	switch {
	case errors.Is(err, process.ErrGone), errors.Is(err, unix.ESRCH), !c.StillHeld():
		return engine.Answer{}
	case errors.Is(err, unix.EACCES) && !unreadable:
		return s.fails(c, unix.EACCES)
	}
	program := exe(p)
	a := s.fails(c, unix.EACCES)
	s.Log.Log(context.Background(), s.level(program), "a call of the workload could not be examined", "call", c.Spec.Name, "program", program, "denied", a.Errno != 0, "error", err)
	return a
}

// fails answers a call that cannot succeed.
func (s *Supervisor) fails(c *engine.Call, e unix.Errno) engine.Answer {
	if s.Rules().CanDeny(c.Spec.Op) {
		return engine.Answer{Errno: e}
	}
	return engine.Answer{}
}

// maxWarned bounds the memory of warnings; what comes later is said at debug level.
const maxWarned = 256

// level is a warning the first time that a program is complained of, and debug
// from then on: a workload must not fill the log.
func (s *Supervisor) level(program string) slog.Level {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.warned[program] || len(s.warned) >= maxWarned {
		return slog.LevelDebug
	}
	s.warned[program] = true
	return slog.LevelWarn
}

// resolve finds the file that the path argument of c names.
func (s *Supervisor) resolve(c *engine.Call, p *process.Process, flags paths.Flags) (paths.Result, error) {
	path, err := p.ReadString(c.TID, c.Args[c.Spec.Path], unix.PathMax)
	if err != nil {
		return paths.Result{}, err
	}
	dirfd := unix.AT_FDCWD
	if c.Spec.Dirfd != syscalls.None {
		dirfd = int(int32(c.Args[c.Spec.Dirfd]))
	}
	if c.Spec.Op&rules.File == 0 || !s.Rules().CanDeny(rules.File) {
		return s.Paths.Resolve(p, c.TID, dirfd, path, flags)
	}
	// The tracer will open the file itself, and so must not find what the caller
	// could not have reached.
	return s.Paths.ResolveAs(p, c.TID, dirfd, path, flags)
}

// source is the program of p for the rules. Where a rule could deny, an unknown
// program is an error: the rule may be about it.
func (s *Supervisor) source(c *engine.Call, p *process.Process) (string, error) {
	name, err := p.Exe()
	if err != nil && s.Rules().CanDeny(c.Spec.Op) {
		return "", err
	}
	return name, nil
}

// exe is the program of p for people, "" when it is not known.
func exe(p *process.Process) string {
	if p == nil {
		return ""
	}
	name, _ := p.Exe()
	return name
}

// hasTTY says whether p has a controlling terminal.
func hasTTY(p *process.Process) bool {
	tty, _ := p.TTY()
	return tty != ""
}
