package process

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Identity says which file, seen through which mount.
type Identity struct {
	Dev, Ino uint64
	// Mount is the mount id; 0 on kernels before 5.8, which do not tell it.
	Mount uint64
}

// Identify returns the identity of a file; name "" is dirfd itself. It follows links and asks no server.
func Identify(dirfd int, name string) (Identity, error) {
	var sx unix.Statx_t
	flags := unix.AT_STATX_DONT_SYNC | unix.AT_NO_AUTOMOUNT | unix.AT_EMPTY_PATH
	err := unix.Statx(dirfd, name, flags, unix.STATX_INO|unix.STATX_MNT_ID, &sx)
	if err == nil {
		id := Identity{Dev: unix.Mkdev(sx.Dev_major, sx.Dev_minor), Ino: sx.Ino}
		if sx.Mask&unix.STATX_MNT_ID != 0 {
			id.Mount = sx.Mnt_id
		}
		return id, nil
	}
	if err != unix.ENOSYS && err != unix.EPERM { // EPERM: a seccomp profile that does not know statx
		return Identity{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT); err != nil {
		return Identity{}, err
	}
	return Identity{Dev: st.Dev, Ino: st.Ino}, nil
}

const (
	deletedSuffix = " (deleted)"
	memfdPrefix   = "/memfd:"
)

// FileName turns the name that a link of /proc gives for an open file (dev, ino) into the file's own: the kernel
// appends " (deleted)" to names that are gone, but a name may also end so by itself. The latter is the case when the
// name leads to that very file. A memfd is named "memfd:NAME", as KubeArmor does.
func FileName(link string, dev, ino uint64) (name string, deleted bool) {
	if !strings.HasSuffix(link, deletedSuffix) {
		return link, false
	}
	var st unix.Stat_t
	err := unix.Lstat(link, &st)
	if err == nil && st.Dev == dev && st.Ino == ino {
		return link, false
	}
	name = strings.TrimSuffix(link, deletedSuffix)
	if strings.HasPrefix(name, memfdPrefix) {
		name = name[1:]
	}
	return name, true
}
