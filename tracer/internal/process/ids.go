package process

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ids of a thread are those of the thread that made it: fork, vfork, clone and clone3 copy them, whatever their
// flags, and so it does not matter whose child a process is. Then they change in two ways only:
//   - by a call of the set*id family or setgroups, which is held: MarkCredentials comes before it is let through;
//   - by an exec of a set-id program. It changes no groups, and nothing at all under no_new_privs, which is inherited and
//     cannot be given up. (The saved and the file system id become the effective one, in any exec.)
//
// So as long as no such call has come, every thread that is under the filter has the groups of the first one that was
// looked at, and under no_new_privs its ids too. Without no_new_privs the kernel tells the ids of a pidfd, from Linux 6.13
// on. Capabilities are asked for each time, and so is the user namespace. This spares the reading of /proc/TID/status,
// which is the dearest of all that is read of a new process.

// idsOf is what is known of the ids of all threads of the workload.
type idsOf struct {
	moved bool         // some may have others than the first
	first *Credentials // nil before it is read
	fixed bool         // no exec changes them
}

// learn takes down the ids of the first thread that was looked at.
func (s *idsOf) learn(c *Credentials) {
	if s.moved || s.first != nil {
		return
	}
	first := *c
	s.first = &first
	s.fixed = c.NoNewPrivs && c.UID == c.RUID && c.UID == c.SUID && c.UID == c.FSUID &&
		c.GID == c.RGID && c.GID == c.SGID && c.GID == c.FSGID
}

// known gives the credentials of the thread tid as far as they are known without /proc/TID/status, nil where they are not.
// NoNewPrivs is not among them.
func (p *Process) known(tid int) *Credentials {
	t := p.table
	t.mu.Lock()
	ids := t.ids
	ok := t.followIDs && ids.first != nil && !ids.moved
	var c Credentials
	if ok {
		c = *ids.first
	}
	if ok && !ids.fixed {
		// All threads of a process have the same: it had one when it was forked, or made its last exec.
		ok = p.pidfd >= 0 && c.readPidfd(p.pidfd)
	}
	t.mu.Unlock()
	if !ok || !c.readCapabilities(tid) {
		return nil
	}
	return &c
}

// readPidfd reads the ids of the process behind a pidfd; false on kernels before 6.13.
func (c *Credentials) readPidfd(fd int) bool {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_CREDS}
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.Mask&unix.PIDFD_INFO_CREDS == 0 {
		return false
	}
	c.RUID, c.UID, c.SUID, c.FSUID = int(info.Ruid), int(info.Euid), int(info.Suid), int(info.Fsuid)
	c.RGID, c.GID, c.SGID, c.FSGID = int(info.Rgid), int(info.Egid), int(info.Sgid), int(info.Fsgid)
	return true
}

// readCapabilities reads those of the thread tid.
func (c *Credentials) readCapabilities(tid int) bool {
	set, err := capabilitiesOf(tid)
	c.CapEff, c.CapPrm = set.effective, set.permitted
	return err == nil
}
