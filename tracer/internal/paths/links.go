package paths

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// stNoSymFollow is ST_NOSYMFOLLOW of statfs(2), Linux 5.10, which x/sys lacks: links of this mount lead nowhere.
const stNoSymFollow = 0x2000

// mayFollow is what the kernel asks before it follows the symbolic link fd of the current directory, beside the
// permission to search that (pick_link and may_follow_link in fs/namei.c).
func (w *walker) mayFollow(fd int, link *unix.Stat_t) error {
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) == nil && fs.Flags&stNoSymFollow != 0 {
		return unix.ELOOP
	}
	if !w.final() || !isTrap(&w.stat, link) {
		return nil
	}
	cred, err := w.q.p.Credentials(w.q.tid)
	if err != nil {
		return err
	}
	if int(link.Uid) != cred.FSUID && linksProtected() {
		return unix.EACCES
	}
	return nil
}

// isTrap says whether fs.protected_symlinks (proc_sys_fs(5)) is about a link: it is in a sticky directory that everybody
// may write to, and is not of the owner of that.
func isTrap(dir, link *unix.Stat_t) bool {
	const shared = unix.S_ISVTX | unix.S_IWOTH
	return dir.Mode&shared == shared && dir.Uid != link.Uid
}

func linksProtected() bool {
	text, err := os.ReadFile("/proc/sys/fs/protected_symlinks")
	return err == nil && strings.TrimSpace(string(text)) != "0"
}
