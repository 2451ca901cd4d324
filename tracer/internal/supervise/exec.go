package supervise

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
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
	shebangBytes = 256      // BINPRM_BUF_SIZE: what the kernel reads to find the interpreter
)

// exec answers execve and execveat.
func (s *Supervisor) exec(c *engine.Call, p *process.Process) engine.Answer {
	var atFlags uint64
	if c.Spec.Flags != syscalls.None {
		atFlags = c.Args[c.Spec.Flags]
	}
	file, err := s.resolve(c, p, execFlags(atFlags))
	if err != nil {
		return s.unknown(c, p, err)
	}
	defer file.Close()
	switch {
	case !file.Exists:
		return s.fails(c, unix.ENOENT)
	case file.Type == unix.S_IFLNK: // AT_SYMLINK_NOFOLLOW
		return s.fails(c, unix.ELOOP)
	case file.Type != unix.S_IFREG:
		return s.fails(c, unix.EACCES)
	}
	argv, _, err := p.ReadStrings(c.TID, c.Args[c.Spec.Argv], maxArgs, maxArgsBytes)
	if err != nil {
		return s.unknown(c, p, err)
	}
	a := rules.Access{Operation: rules.Process, Path: file.Path, HasTTY: hasTTY(p)}
	if a.Source, err = s.source(c, p); err != nil {
		return s.unknown(c, p, err)
	}
	if uid, err := p.UID(c.TID); err == nil {
		a.Owner = file.OwnerUID == uid
	}
	if parent, err := p.Parent(); err == nil && parent != nil {
		a.ParentSource = exe(parent)
	}
	if len(argv) > 1 {
		a.Args = argv[1:]
	}
	v, names := s.decideExec(c, p, file.FD, &a)
	if !c.StillHeld() {
		return engine.Answer{}
	}
	if v.Deny {
		if s.reported(v, rules.Process) {
			s.reportExec(c, p, &a, v, schema.ResultPermissionDenied, atFlags)
		}
		return engine.Answer{Errno: unix.EACCES}
	}
	if s.reported(v, rules.Process) {
		s.reportExec(c, p, &a, v, predict(mayAccess(c, p, file.FD, unix.X_OK)), atFlags)
	}
	if s.Rules().CanDeny(rules.Process) {
		s.approved.add(p.PID(), approval{tid: c.TID, old: a.Source, access: a, names: names})
	}
	p.MarkExec(c.TID)
	return engine.Answer{}
}

func execFlags(atFlags uint64) (f paths.Flags) {
	if atFlags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		f |= paths.NoFollow
	}
	if atFlags&unix.AT_EMPTY_PATH != 0 {
		f |= paths.EmptyPath
	}
	return f
}

// decideExec asks the rules about the program, and about the interpreters that
// the kernel will run in its place, as the kernel's own hook is called for each.
// A program is a file as well: a file rule that denies reading it denies
// executing it. a.Path becomes the file that the verdict is about; names are all
// that were asked about.
func (s *Supervisor) decideExec(c *engine.Call, p *process.Process, fd int, a *rules.Access) (v rules.Verdict, names []string) {
	inForce := s.Rules()
	wants := inForce.Wants()
	v = inForce.Decide(a)
	if wants&rules.File != 0 && !v.Deny {
		open := rules.Access{Operation: rules.FileRead, Path: a.Path, Source: a.Source, Owner: a.Owner, HasTTY: a.HasTTY}
		if fv := inForce.Decide(&open); fv.Deny {
			return fv, nil
		}
	}
	names = append(names, a.Path)
	if wants&rules.Process == 0 || v.Deny {
		return v, names
	}
	for range maxScripts {
		name := interpreter(fd)
		if name == "" {
			break
		}
		next, err := s.Paths.Resolve(p, c.TID, unix.AT_FDCWD, name, 0)
		if err != nil {
			break // the exec will fail
		}
		defer next.Close()
		if !next.Exists {
			break
		}
		names = append(names, next.Path)
		with := *a
		with.Path = next.Path
		if iv := inForce.Decide(&with); iv.Deny || iv.Alert && !v.Alert {
			if v, a.Path = iv, with.Path; v.Deny {
				return v, names
			}
		}
		fd = next.FD
	}
	return v, names
}

// interpreter reads which program a script asks for in its first line; "" when
// the file is no script, or cannot be read.
func interpreter(fd int) string {
	f, err := os.Open("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return ""
	}
	defer f.Close()
	var buf [shebangBytes]byte
	n, err := f.ReadAt(buf[:], 0)
	if n == 0 && err != nil {
		return ""
	}
	line, ok := strings.CutPrefix(string(buf[:n]), "#!")
	if !ok {
		return ""
	}
	line, _, _ = strings.Cut(line, "\n")
	fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' || r == 0 })
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

func (s *Supervisor) reportExec(c *engine.Call, p *process.Process, a *rules.Access, v rules.Verdict, result string, atFlags uint64) {
	r := s.record(p, c)
	r.Operation = schema.OperationProcess
	r.ProcessName = a.Path
	r.Source = r.ParentProcessName // for exec KubeArmor names the parent, without arguments
	r.Resource = joinCommand(a.Path, a.Args)
	r.Data = c.Spec.Data(&c.Args, atFlags)
	r.ExecEvent.ExecutableName = comm(a.Path)
	s.report(r, v, result)
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
