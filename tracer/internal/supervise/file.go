package supervise

import (
	"encoding/binary"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

func decodeHow(b []byte) openHow {
	return openHow{
		flags:   binary.NativeEndian.Uint64(b),
		mode:    uint32(binary.NativeEndian.Uint64(b[8:])),
		resolve: binary.NativeEndian.Uint64(b[16:]),
	}
}

// maxRaces bounds how often an open is begun anew because the file appeared
// while it was looked for.
const maxRaces = 16

// open answers open, openat, openat2 and creat.
func (s *Supervisor) open(c *engine.Call, p *process.Process) engine.Answer {
	how, err := readHow(c, p)
	if err != nil {
		return s.unknown(c, p, err)
	}
	if how.flags&unix.O_PATH != 0 {
		return s.openPath(c)
	}
	if both := uint64(unix.O_CREAT | unix.O_DIRECTORY); how.flags&both == both {
		return s.fails(c, unix.EINVAL) // since Linux 6.4; earlier kernels made a file and then failed
	}
	for range maxRaces {
		if a, again := s.tryOpen(c, p, how); !again {
			return a
		}
	}
	return engine.Answer{Errno: unix.EAGAIN}
}

// openPath answers an open with O_PATH. Such a descriptor neither reads nor
// writes; to do so it must be opened again, through /proc, which is a call of
// its own. The kernel's own security hook for opening is not called either.
func (s *Supervisor) openPath(c *engine.Call) engine.Answer {
	if c.Spec.ID == syscalls.Openat2 && s.Rules().CanDeny(rules.File) {
		// Its flags are in the caller's memory and may not be O_PATH any more
		// when the kernel reads them, and a descriptor of this kind cannot be
		// installed. Programs fall back to openat, as on kernels before 5.6.
		return engine.Answer{Errno: unix.ENOSYS}
	}
	return engine.Answer{}
}

// tryOpen resolves, decides, and opens; again says that the file appeared
// meanwhile.
func (s *Supervisor) tryOpen(c *engine.Call, p *process.Process, how openHow) (answer engine.Answer, again bool) {
	create := how.flags&unix.O_CREAT != 0
	flags := paths.FromResolve(how.resolve)
	if how.flags&unix.O_NOFOLLOW != 0 || create && how.flags&unix.O_EXCL != 0 {
		flags |= paths.NoFollow
	}
	file, err := s.resolve(c, p, flags)
	if err != nil {
		return s.unknown(c, p, err), false
	}
	defer file.Close()
	if !file.Exists && !create {
		return s.fails(c, unix.ENOENT), false
	}
	a, err := s.fileAccess(c, p, &file, how)
	if err != nil {
		return s.unknown(c, p, err), false
	}
	v := s.Rules().Decide(&a)
	visible := s.reported(v, a.Operation)
	pin := !v.Deny && s.Rules().CanDeny(rules.File)
	if !v.Deny && !visible && !pin || !c.StillHeld() {
		return engine.Answer{}, false
	}
	var result string
	switch {
	case v.Deny:
		answer.Errno, result = unix.EACCES, schema.ResultPermissionDenied
	case pin:
		if answer, result = s.pinned(c, p, &file, how); answer.Errno == unix.EEXIST && !file.Exists && how.flags&unix.O_EXCL == 0 {
			return engine.Answer{}, true
		}
	default:
		result = predict(mayOpen(c, p, file.FD, how.flags))
	}
	if visible {
		s.reportOpen(c, p, &a, v, result, how.flags, &file)
	}
	return answer, false
}

// fileAccess is an open as the rules see it.
func (s *Supervisor) fileAccess(c *engine.Call, p *process.Process, file *paths.Result, how openHow) (rules.Access, error) {
	a := rules.Access{
		Operation: rules.FileRead, Path: file.Path, HasTTY: hasTTY(p), Create: !file.Exists,
	}
	if how.flags&unix.O_ACCMODE != unix.O_RDONLY || how.flags&unix.O_TRUNC != 0 || !file.Exists {
		a.Operation = rules.FileWrite
	}
	if uid, err := p.UID(c.TID); err == nil {
		a.Owner = ownerOf(file) == uid
	}
	var err error
	a.Source, err = s.source(c, p)
	return a, err
}

// pinned answers an open that is allowed while others could be denied.
func (s *Supervisor) pinned(c *engine.Call, p *process.Process, file *paths.Result, how openHow) (engine.Answer, string) {
	o := openFor(c, p, file, how)
	if o.later != nil {
		later := func(stillHeld func() bool) engine.Answer { return o.later(stillHeld).answer(how) }
		return engine.Answer{Later: later}, predict(mayOpen(c, p, file.FD, how.flags))
	}
	if o.errno != 0 {
		return o.answer(how), resultOf(o.errno)
	}
	return o.answer(how), schema.ResultPassed
}

func (o opened) answer(how openHow) engine.Answer {
	if o.errno != 0 {
		return engine.Answer{Errno: o.errno}
	}
	return engine.Answer{File: &engine.File{FD: o.fd}, CloseOnExec: how.flags&unix.O_CLOEXEC != 0}
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

func (s *Supervisor) reportOpen(c *engine.Call, p *process.Process, a *rules.Access, v rules.Verdict, result string, flags uint64, file *paths.Result) {
	r := s.record(p, c)
	r.Operation = schema.OperationFile
	r.Source = commandLine(p)
	r.Resource = a.Path
	r.Data = c.Spec.Data(&c.Args, flags)
	if file.Exists {
		r.OID = int32(file.OwnerUID)
	}
	s.report(r, v, result)
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

// mayOpen predicts whether the file's permission bits let the caller open it: a
// call that is let run does not tell how it ended. fd is -1 for a new file.
func mayOpen(c *engine.Call, p *process.Process, fd int, flags uint64) bool {
	if fd < 0 {
		return true
	}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return mayAccess(c, p, fd, unix.R_OK)
	case unix.O_WRONLY:
		return mayAccess(c, p, fd, unix.W_OK)
	}
	return mayAccess(c, p, fd, unix.R_OK|unix.W_OK)
}

// mayAccess applies the permission bits of a file as the kernel does
// (path_resolution(7)). Access lists, read-only mounts and the directories on
// the way are not considered, and what cannot be known counts as allowed.
func mayAccess(c *engine.Call, p *process.Process, fd int, want uint32) bool {
	const dacOverride = 1 << unix.CAP_DAC_OVERRIDE
	var st unix.Stat_t
	cred, err := p.Credentials(c.TID)
	if err != nil || unix.Fstat(fd, &st) != nil {
		return true
	}
	if cred.CapEff&dacOverride != 0 {
		// Execution needs one x bit at least, of anybody's.
		return want&unix.X_OK == 0 || st.Mode&0o111 != 0
	}
	bits := st.Mode & 7
	if int(st.Uid) == cred.FSUID {
		bits = st.Mode >> 6 & 7
	} else if gid := int(st.Gid); gid == cred.FSGID || slices.Contains(cred.Groups, gid) {
		bits = st.Mode >> 3 & 7
	}
	return bits&want == want
}
