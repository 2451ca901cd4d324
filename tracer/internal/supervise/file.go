package supervise

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/policy"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// openHow is what an open asks for, whichever call it is made by.
type openHow struct{ flags, resolve uint64 }

// howSize is the size of struct open_how's first version (openat2(2)).
const howSize = 24

func (s *Supervisor) openHow(c *engine.Call, p *process.Process) (openHow, error) {
	switch c.Spec.ID {
	case syscalls.Creat:
		return openHow{flags: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC}, nil
	case syscalls.Openat2:
		var how [howSize]byte
		if err := p.ReadMemory(c.TID, c.Args[c.Spec.Flags], how[:]); err != nil {
			return openHow{}, err
		}
		return openHow{binary.NativeEndian.Uint64(how[:]), binary.NativeEndian.Uint64(how[16:])}, nil
	}
	return openHow{flags: uint64(uint32(c.Args[c.Spec.Flags]))}, nil
}

// open answers open, openat, openat2 and creat.
func (s *Supervisor) open(c *engine.Call, p *process.Process) engine.Answer {
	how, err := s.openHow(c, p)
	if err != nil {
		return s.unknown(c, p, err)
	}
	if how.flags&unix.O_PATH != 0 {
		// Such a descriptor neither reads nor writes; to do so it must be opened
		// again, through /proc, which is a call of its own. The kernel's own
		// security hook for opening is not called either.
		return engine.Answer{}
	}
	create := how.flags&unix.O_CREAT != 0
	flags := paths.FromResolve(how.resolve)
	if how.flags&unix.O_NOFOLLOW != 0 || create && how.flags&unix.O_EXCL != 0 {
		flags |= paths.NoFollow
	}
	file, err := s.resolve(c, p, flags)
	if err != nil {
		return s.unknown(c, p, err)
	}
	defer file.Close()
	if !file.Exists && !create {
		return engine.Answer{} // ENOENT
	}
	a := policy.Access{
		Operation: policy.File, Path: file.Path, HasTTY: hasTTY(p), Create: !file.Exists,
		Write: how.flags&unix.O_ACCMODE != unix.O_RDONLY || how.flags&unix.O_TRUNC != 0 || !file.Exists,
	}
	if a.Source, err = s.source(c, p); err != nil {
		return s.unknown(c, p, err)
	}
	if uid, err := p.UID(c.TID); err == nil {
		a.Owner = ownerOf(&file) == uid
	}
	v := s.Rules().Decide(&a)
	if !v.Alert && !v.Deny && s.Visible&syscalls.File == 0 {
		return engine.Answer{}
	}
	if !c.StillHeld() {
		return engine.Answer{}
	}
	result := schema.ResultPassed
	if v.Deny || !mayOpen(c, p, file.FD, how.flags) {
		result = schema.ResultPermissionDenied
	}
	s.reportOpen(c, p, &a, v, result, how.flags, &file)
	if v.Deny {
		return engine.Answer{Errno: unix.EACCES}
	}
	return engine.Answer{}
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

func (s *Supervisor) reportOpen(c *engine.Call, p *process.Process, a *policy.Access, v policy.Verdict, result string, flags uint64, file *paths.Result) {
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
