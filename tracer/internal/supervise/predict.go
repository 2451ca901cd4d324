package supervise

import (
	"slices"

	"golang.org/x/sys/unix"
)

// mayOpen predicts whether the file's permission bits let the caller open it: a
// call that is let run does not tell how it ended. fd is -1 for a new file.
func (w *worker) mayOpen(c *call, fd int, flags uint64) bool {
	if fd < 0 {
		return true
	}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return w.mayAccess(c, fd, unix.R_OK)
	case unix.O_WRONLY:
		return w.mayAccess(c, fd, unix.W_OK)
	}
	return w.mayAccess(c, fd, unix.R_OK|unix.W_OK)
}

// mayAccess applies the permission bits of a file as the kernel does
// (path_resolution(7)). Access lists, read-only mounts and the directories on
// the way are not considered, and what cannot be known counts as allowed.
func (w *worker) mayAccess(c *call, fd int, want uint32) bool {
	const dacOverride = 1 << unix.CAP_DAC_OVERRIDE
	var st unix.Stat_t
	cred, err := c.process.Credentials(c.TID)
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
