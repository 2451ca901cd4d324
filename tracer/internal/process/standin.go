package process

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// StandIn is an OS thread of the tracer's that acts in the place of threads of the workload: the kernel itself then
// applies permissions, access lists and the rest to what it does, as it would to them. It keeps the rights of the last
// one until another comes, so that a change costs something only where rights differ.
//
// The thread's umask, root and working directory stay the tracer's: they belong to all of its threads.
type StandIn struct {
	table *Table
	own   capSet
	now   *Credentials // nil: not known
}

// NewStandIn makes a stand-in of the calling OS thread.
//
// Precondition: the goroutine is locked to its thread, and never unlocks it.
func (t *Table) NewStandIn() (*StandIn, error) {
	own, err := capabilities()
	if err != nil {
		return nil, err
	}
	return &StandIn{table: t, own: own}, nil
}

// Become gives the thread the rights of the thread tid of p, which must be held in a system call: its effective ids,
// its file system ids and groups, and of the tracer's capabilities those that are effective there. The real and the
// saved ids stay the tracer's, which is why it can go back.
//
// Without CAP_SETUID and CAP_SETGID the error is ErrUnreadable for a thread of another user.
func (s *StandIn) Become(p *Process, tid int) error {
	c, err := p.credentials(tid)
	if err != nil {
		return err
	}
	if c == s.now || s.now != nil && s.now.equal(c) {
		return nil
	}
	now := s.now
	s.now = nil
	if err := s.assume(c, now); err != nil {
		return fmt.Errorf("act as user %d: %w (%w)", c.UID, ErrUnreadable, err)
	}
	s.now = c
	return nil
}

// equal compares what a stand-in takes on.
func (c *Credentials) equal(o *Credentials) bool {
	return c.CapEff == o.CapEff && c.sameIDs(o)
}

func (c *Credentials) sameIDs(o *Credentials) bool {
	return c.UID == o.UID && c.GID == o.GID && c.FSUID == o.FSUID && c.FSGID == o.FSGID && slices.Equal(c.Groups, o.Groups)
}

// assume changes this thread only, by raw calls: the wrappers of package syscall change every thread.
func (s *StandIn) assume(c, now *Credentials) error {
	if now == nil || !now.sameIDs(c) {
		// Changing ids takes CAP_SETUID and CAP_SETGID, and changes the effective capabilities.
		if err := s.own.setEffective(s.own.permitted); err != nil {
			return err
		}
		if err := setIDs(c); err != nil {
			return err
		}
	}
	return s.own.setEffective(c.CapEff & s.own.permitted)
}

func setIDs(c *Credentials) error {
	present, err := unix.Getgroups() // of this thread: the call is not one that package unix makes for all
	if err != nil {
		return err
	}
	if !slices.Equal(present, c.Groups) && !setgroups(c.Groups) {
		return unix.EPERM
	}
	const keep = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, keep, uintptr(c.GID), keep); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(c.UID), keep); errno != 0 {
		return errno
	}
	// These return the previous id and no error.
	setfsid(unix.SYS_SETFSGID, c.FSGID)
	setfsid(unix.SYS_SETFSUID, c.FSUID)
	if setfsid(unix.SYS_SETFSGID, -1) != c.FSGID || setfsid(unix.SYS_SETFSUID, -1) != c.FSUID {
		return unix.EPERM
	}
	return nil
}
