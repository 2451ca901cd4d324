package supervise

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/paths"
)

// mayOpen predicts whether the file's permission bits let the caller open it: a
// call that is let run does not tell how it ended.
func (w *worker) mayOpen(c *call, file *paths.Result, flags uint64) bool {
	if !file.Exists {
		return true
	}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return w.mayAccess(c, file, unix.R_OK)
	case unix.O_WRONLY:
		return w.mayAccess(c, file, unix.W_OK)
	}
	return w.mayAccess(c, file, unix.R_OK|unix.W_OK)
}

// mayAccess applies the permission bits of a file as the kernel does
// (path_resolution(7)). Access lists, read-only mounts and the directories on
// the way are not considered, and what cannot be known counts as allowed.
func (w *worker) mayAccess(c *call, file *paths.Result, want uint32) bool {
	const dacOverride = 1 << unix.CAP_DAC_OVERRIDE
	cred, err := c.process.Credentials(c.TID)
	if err != nil {
		return true
	}
	if cred.CapEff&dacOverride != 0 {
		// Execution needs one x bit at least, of anybody's.
		return want&unix.X_OK == 0 || file.Mode&0o111 != 0
	}
	bits := file.Mode & 7
	if file.OwnerUID == cred.FSUID {
		bits = file.Mode >> 6 & 7
	} else if gid := file.OwnerGID; gid == cred.FSGID || slices.Contains(cred.Groups, gid) {
		bits = file.Mode >> 3 & 7
	}
	return bits&want == want
}
