package process

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Impersonate runs f on this OS thread with the file system ids and the supplementary groups of the thread tid, and
// takes the tracer's own back before it returns. The kernel then checks f's file accesses, and its looks into /proc,
// as if the workload made them. f must not start goroutines nor change credentials.
//
// The tracer needs CAP_SETUID and CAP_SETGID for it; without them the error is ErrUnreadable. Two side effects last:
// the kernel makes the tracer not dumpable, which it should be anyway, and clears this thread's parent death signal.
func (p *Process) Impersonate(tid int, f func() error) error {
	c, err := p.table.readCredentials(tid) // never from the cache: this is about permissions
	if err != nil {
		return err
	}
	return p.table.impersonate(c.FSUID, c.FSGID, c.Groups, f)
}

// impersonate may be nested: it goes back to the ids that it found.
func (t *Table) impersonate(uid, gid int, groups []int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := currentIDs()
	if err != nil {
		return err
	}
	defer t.assume(before.FSUID, before.FSGID, before.Groups, groups)
	if !t.assume(uid, gid, groups, before.Groups) {
		return fmt.Errorf("act as user %d: %w", uid, ErrUnreadable)
	}
	return f()
}

// currentIDs are this thread's.
func currentIDs() (Credentials, error) {
	groups, err := unix.Getgroups() // of this thread: the call is not one that package unix makes for all
	if err != nil {
		return Credentials{}, fmt.Errorf("read this thread's groups: %w", err)
	}
	return Credentials{FSUID: setfsid(unix.SYS_SETFSUID, -1), FSGID: setfsid(unix.SYS_SETFSGID, -1), Groups: groups}, nil
}

// assume sets the ids of this OS thread only, by raw calls: the wrappers of package syscall change every thread. It
// reports whether the ids are as asked. Returning to the tracer's own ids needs no capability for the user and group
// id, and keeps CAP_SETGID, which does not depend on the file system user id.
func (t *Table) assume(uid, gid int, groups, present []int) bool {
	ok := slices.Equal(groups, present) || setgroups(groups)
	setfsid(unix.SYS_SETFSGID, gid)
	setfsid(unix.SYS_SETFSUID, uid)
	// The calls return the previous id and no error; an invalid id changes nothing and so reads the present one.
	return ok && setfsid(unix.SYS_SETFSGID, -1) == gid && setfsid(unix.SYS_SETFSUID, -1) == uid
}

func setfsid(call uintptr, id int) int {
	previous, _, _ := unix.RawSyscall(call, uintptr(uint32(id)), 0, 0)
	return int(uint32(previous))
}

func setgroups(groups []int) bool {
	ids := make([]uint32, len(groups), len(groups)+1) // never empty underneath: &ids[0] must exist
	for i, g := range groups {
		ids[i] = uint32(g)
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&ids[:1][0])), 0)
	return errno == 0
}

// asOwner repeats f, which was refused with cause, as the owner of the process. This opens the files of /proc that
// need ptrace access to a process that runs as one other user throughout and is dumpable, which an exec makes it.
func (p *Process) asOwner(tid int, cause error, f func() error) error {
	c, err := p.table.readCredentials(tid)
	if err != nil {
		return err
	}
	single := c.UID == c.RUID && c.UID == c.SUID && c.GID == c.RGID && c.GID == c.SGID
	own := c.UID == p.table.own.FSUID && c.GID == p.table.own.FSGID
	if !single || own {
		return fmt.Errorf("%w: %w", ErrUnreadable, cause)
	}
	// The groups do not matter to that check, so CAP_SETGID is needed for the group id alone.
	if err := p.table.impersonate(c.UID, c.GID, p.table.own.Groups, f); err != nil {
		if refused(err) {
			return fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
		return err
	}
	return nil
}
