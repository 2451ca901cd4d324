package process

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// impersonate runs f on this OS thread with the file system ids and the supplementary groups of a user, and gives the
// thread back what it had. It may be nested. f must not start goroutines nor change credentials.
//
// The tracer needs CAP_SETUID and CAP_SETGID for it; without them the error is ErrUnreadable. Two side effects last:
// the kernel makes the tracer not dumpable, which it should be anyway, and clears this thread's parent death signal.
func (t *Table) impersonate(uid, gid int, groups []int, f func() error) error {
	return elevated(func() error {
		before, err := currentIDs()
		if err != nil {
			return err
		}
		defer t.assume(before.FSUID, before.FSGID, before.Groups, groups)
		if !t.assume(uid, gid, groups, before.Groups) {
			return fmt.Errorf("act as user %d: %w", uid, ErrUnreadable)
		}
		// The step from root to another user took the capabilities for files away. A process that has them can be
		// looked into by one who has them too.
		return elevated(f)
	})
}

// elevated runs f on this OS thread with all capabilities that it may have, and then takes them back.
func elevated(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := capabilities()
	if err != nil {
		return err
	}
	if before.effective == before.permitted {
		err := f()
		// A change of ids in f drops and raises effective ones.
		return errors.Join(err, before.setEffective(before.effective))
	}
	if err := before.setEffective(before.permitted); err != nil {
		return err
	}
	err = f()
	return errors.Join(err, before.setEffective(before.effective))
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

// asOwner repeats f, which was refused with cause: with CAP_SYS_PTRACE if the tracer has it, else as the owner of the
// process. The latter opens the files of /proc that need ptrace access to a process that runs as one other user
// throughout and is dumpable, which an exec makes it.
func (p *Process) asOwner(tid int, cause error, f func() error) error {
	if p.table.ptracer {
		return elevated(f)
	}
	c, err := p.table.readCredentials(tid)
	if err != nil {
		return err
	}
	single := c.UID == c.RUID && c.UID == c.SUID && c.GID == c.RGID && c.GID == c.SGID
	if !single {
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

// Attach runs f, which attaches to the thread tid by ptrace, and again with all means of the tracer when it is refused:
// with its capabilities or, where these do not reach, with the thread's own real ids, which the kernel compares for that.
// f must not start goroutines nor change credentials.
func (p *Process) Attach(tid int, f func() error) error {
	if err := f(); !refused(err) {
		return err
	}
	return elevated(func() error {
		c, err := p.credentials(tid)
		if err != nil {
			return err
		}
		own := &p.table.own
		if p.table.ptracer || c.RUID == own.RUID && c.RGID == own.RGID {
			return f()
		}
		defer setReal(own.RUID, own.RGID)
		if !setReal(c.RUID, c.RGID) {
			return fmt.Errorf("act as user %d: %w", c.RUID, ErrUnreadable)
		}
		return f()
	})
}

// setReal changes the real ids of this OS thread, and reports whether it did.
func setReal(uid, gid int) bool {
	const keep = ^uintptr(0)
	_, _, gidErr := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), keep, keep)
	_, _, uidErr := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), keep, keep)
	return gidErr == 0 && uidErr == 0
}
