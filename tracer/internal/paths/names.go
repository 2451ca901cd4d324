package paths

import (
	"sync"
	"unsafe"

	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"golang.org/x/sys/unix"
)

// names remembers what absolute paths led to, for Recall.
type names struct {
	mu   sync.Mutex
	seen map[nameKey]nameSeen
}

type nameKey struct {
	path  string
	flags Flags
}

type nameSeen struct {
	path string
	id   process.Identity
}

const (
	// maxNames bounds the paths that are remembered, and maxNameBytes their length.
	maxNames     = 1024
	maxNameBytes = 256
)

// recallable says whether a path may be remembered: one that the kernel resolves from the tracer's root as it stands.
func (q *request) recallable() bool {
	return q.absolute() && q.flags&^(NoFollow|Existing|Remember) == 0 && len(q.path) <= maxNameBytes && !q.plainlySelf()
}

// learn remembers the file that a path led to.
func (n *names) learn(q *request, res *Result) {
	if q.flags&Remember == 0 || !q.recallable() || res.Deleted || res.Own {
		return
	}
	id, err := process.Identify(res.FD, "")
	if err != nil || id.Mount == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen == nil || len(n.seen) >= maxNames {
		n.seen = map[nameKey]nameSeen{}
	}
	n.seen[nameKey{q.path, q.flags &^ Remember}] = nameSeen{res.Path, id}
}

// Recall is Resolve for telling, not for deciding: it says what the same path led to the last time, without a
// descriptor, if it leads to the same file now. Where that was moved to another name meanwhile, or one of several names
// has taken the place of another, the name is the old one. ok is false where only Resolve will do.
func (r *Resolver) Recall(p *process.Process, tid int, path string, f Flags) (res Result, ok bool) {
	q := request{p: p, tid: tid, path: path, flags: f}
	if !q.recallable() {
		return none(), false
	}
	r.names.mu.Lock()
	seen, ok := r.names.seen[nameKey{path, f &^ Remember}]
	r.names.mu.Unlock()
	if !ok {
		return none(), false
	}
	if same, err := p.SameRoot(tid); err != nil || !same {
		return none(), false
	}
	var sx unix.Statx_t
	flags := unix.AT_STATX_DONT_SYNC
	if f&NoFollow != 0 {
		flags |= unix.AT_SYMLINK_NOFOLLOW
	}
	const want = unix.STATX_TYPE | unix.STATX_MODE | unix.STATX_UID | unix.STATX_GID | unix.STATX_INO | unix.STATX_MNT_ID
	if errno := statx(r.rootFD, path, flags, want, &sx); errno != 0 || sx.Mask&want != want {
		return none(), false
	}
	if id := (process.Identity{Dev: unix.Mkdev(sx.Dev_major, sx.Dev_minor), Ino: sx.Ino, Mount: sx.Mnt_id}); id != seen.id {
		return none(), false
	}
	return Result{
		Path: seen.path, FD: -1, ParentFD: -1, Exists: true, Type: uint32(sx.Mode) & unix.S_IFMT, Mode: uint32(sx.Mode),
		OwnerUID: int(sx.Uid), OwnerGID: int(sx.Gid), Dev: seen.id.Dev, Ino: seen.id.Ino,
	}, true
}

// statx is statx(2) of a path of at most maxNameBytes, which it does not copy to the heap as package unix does.
func statx(dirfd int, path string, flags, mask int, sx *unix.Statx_t) unix.Errno {
	var name [maxNameBytes + 1]byte // ends in NUL
	copy(name[:maxNameBytes], path)
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dirfd), uintptr(unsafe.Pointer(&name[0])),
		uintptr(flags), uintptr(mask), uintptr(unsafe.Pointer(sx)), 0)
	return errno
}
