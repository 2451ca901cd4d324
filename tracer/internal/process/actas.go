package process

import (
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// ActAs runs f on this OS thread with the rights of the thread tid to files: its
// file system ids, its groups, and of the tracer's capabilities only those that
// the thread has too. What f opens is what the workload could have opened. It
// costs nothing where the rights are the tracer's own, which is the common case.
//
// f must not start goroutines nor change credentials. Without CAP_SETUID and
// CAP_SETGID it fails for a thread of another user, with ErrUnreadable.
func (p *Process) ActAs(tid int, f func() error) error {
	c, err := p.Credentials(tid)
	if err != nil {
		return err
	}
	own, allowed := &p.table.own, c.CapEff
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if c.FSUID != own.FSUID || c.FSGID != own.FSGID || !slices.Equal(c.Groups, own.Groups) {
		inner := f
		return p.table.impersonate(c.FSUID, c.FSGID, c.Groups, func() error { return limited(allowed, inner) })
	}
	if own.CapEff&^allowed == 0 {
		return f()
	}
	return limited(allowed, f)
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
