package paths

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNoName says that a file's absolute path does not fit into PATH_MAX and that not even the directory is known that it
// is in. A workload reaches such files by relative paths.
var ErrNoName = errors.New("the absolute path is longer than the kernel can tell")

// Flags are what a system call says about the lookup of its path.
type Flags uint32

const (
	// NoFollow does not follow a symbolic link in the final component: O_NOFOLLOW, O_CREAT|O_EXCL,
	// AT_SYMLINK_NOFOLLOW, and calls that act on names, such as unlink.
	NoFollow Flags = 1 << iota
	// EmptyPath lets an empty path mean dirfd itself: AT_EMPTY_PATH.
	EmptyPath
	// InRoot is RESOLVE_IN_ROOT of openat2(2).
	InRoot
	// Beneath is RESOLVE_BENEATH.
	Beneath
	// NoSymlinks is RESOLVE_NO_SYMLINKS.
	NoSymlinks
	// NoMagicLinks is RESOLVE_NO_MAGICLINKS.
	NoMagicLinks
	// NoXDev is RESOLVE_NO_XDEV.
	NoXDev
	// Cached is RESOLVE_CACHED: what takes more than the kernel's cache fails with EAGAIN. (Where the kernel cannot be asked
	// as a whole, it is not looked for.)
	Cached
	// Create is O_CREAT: a final component with slashes behind it is EISDIR.
	Create
	// Existing says that the call fails with ENOENT where there is no file. That may then be the error of Resolve as
	// well, and costs less than finding out where the file would be.
	Existing
	// Remember has Recall know what the path led to.
	Remember
)

const scoped = InRoot | Beneath

// FromResolve turns the resolve field of struct open_how into Flags. Bits that the kernel refuses
// are left out.
func FromResolve(resolve uint64) Flags {
	var f Flags
	for _, b := range resolveBits() {
		if resolve&b.kernel != 0 {
			f |= b.flag
		}
	}
	return f
}

// resolve is the opposite of FromResolve.
func (f Flags) resolve() uint64 {
	var bits uint64
	for _, b := range resolveBits() {
		if f&b.flag != 0 {
			bits |= b.kernel
		}
	}
	return bits
}

// resolveCached is RESOLVE_CACHED of linux/openat2.h, which x/sys lacks.
const resolveCached = 0x20

type resolveBit struct {
	flag   Flags
	kernel uint64
}

func resolveBits() [6]resolveBit {
	return [...]resolveBit{
		{InRoot, unix.RESOLVE_IN_ROOT},
		{Beneath, unix.RESOLVE_BENEATH},
		{NoSymlinks, unix.RESOLVE_NO_SYMLINKS},
		{NoMagicLinks, unix.RESOLVE_NO_MAGICLINKS},
		{NoXDev, unix.RESOLVE_NO_XDEV},
		{Cached, resolveCached},
	}
}

// Result is the file that a path leads to. It owns its descriptors until Close.
type Result struct {
	// Path is absolute, without symbolic links, as seen from the tracer's root directory: what rules match. Files
	// without a name in any directory have the kernel's form: "pipe:[7]", "socket:[7]", "memfd:name".
	Path string
	// FD is an O_PATH descriptor of the file; -1 when it does not exist.
	FD int
	// Exists is false when everything but the final component is there. Path is then the name that O_CREAT would
	// create, behind a symbolic link that leads nowhere as well.
	Exists bool
	// ParentFD (O_PATH), Parent and Base say where the missing name would be; -1 and empty when the file exists.
	ParentFD     int
	Parent, Base string
	// Type is the S_IFMT part of Mode.
	Type, Mode         uint32
	OwnerUID, OwnerGID int
	Dev, Ino           uint64
	// Deleted says that Path (or Parent, when the file does not exist) was removed and is only the name that it had.
	Deleted bool
	// Own says that the file is in procfs and tells of the tracer itself, which may read there what the workload may
	// not.
	Own bool
}

func none() Result { return Result{FD: -1, ParentFD: -1} }

// Close gives up the descriptors. It may be called more than once.
func (r *Result) Close() {
	for _, fd := range []*int{&r.FD, &r.ParentFD} {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		*fd = -1
	}
}

// Error says which lookup failed.
type Error struct {
	PID  int
	Path string
	Err  error
}

func (e *Error) Error() string {
	return fmt.Sprintf("resolve %q for process %d: %v", e.Path, e.PID, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
