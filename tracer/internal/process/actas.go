package process

import (
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// fileCaps are the capabilities that the kernel asks for when files are looked
// up, opened or made (capabilities(7)). Opening what procfs tells of other
// processes asks for more.
const fileCaps = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER |
	1<<unix.CAP_FSETID | 1<<unix.CAP_LINUX_IMMUTABLE | 1<<unix.CAP_MKNOD | 1<<unix.CAP_SYS_ADMIN |
	1<<unix.CAP_SYS_RESOURCE | 1<<unix.CAP_LEASE | 1<<unix.CAP_MAC_OVERRIDE

// ActAs runs f on this OS thread with the rights of the thread tid to files: its
// file system ids, its groups, and of the tracer's capabilities only those that
// the thread has too. What f opens is what the workload could have opened. It
// costs nothing where the rights are the tracer's own, which is the common case.
//
// anywhere says that f may reach into procfs, where all capabilities count; else
// one that has nothing to do with files, such as the tracer's CAP_SYS_PTRACE, is
// left where it is.
//
// f must not start goroutines nor change credentials. Without CAP_SETUID and
// CAP_SETGID it fails for a thread of another user, with ErrUnreadable.
func (p *Process) ActAs(tid int, anywhere bool, f func() error) error {
	c, err := p.Credentials(tid)
	if err != nil {
		return err
	}
	own, matter := &p.table.own, uint64(fileCaps)
	if anywhere {
		matter = ^uint64(0)
	}
	if own.CapEff&matter&^c.CapEff != 0 {
		inner := f
		f = func() error { return limited(c.CapEff, inner) }
	}
	if c.FSUID != own.FSUID || c.FSGID != own.FSGID || !slices.Equal(c.Groups, own.Groups) {
		return p.table.impersonate(c.FSUID, c.FSGID, c.Groups, f)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return f()
}

// limited runs f on this thread without the effective capabilities that are not
// in allowed. They stay permitted, and so can be taken back.
func limited(allowed uint64, f func() error) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var full [2]unix.CapUserData
	if err := unix.Capget(&head, &full[0]); err != nil {
		return fmt.Errorf("read this thread's capabilities: %w", err)
	}
	less := full
	less[0].Effective &= uint32(allowed)
	less[1].Effective &= uint32(allowed >> 32)
	if err := unix.Capset(&head, &less[0]); err != nil {
		return fmt.Errorf("lay down capabilities: %w", err)
	}
	defer func() {
		// It cannot fail: all of these are permitted.
		_ = unix.Capset(&head, &full[0])
	}()
	return f()
}
