package filter

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// guard is a call that the filter refuses to every workload by itself, without
// asking the tracer: always, or when one of the conditions is true.
type guard struct {
	name  string
	errno unix.Errno
	when  []syscalls.Condition
}

func guards(tracer int) []guard { return slices.Concat(detours(), attacks(tracer)) }

// detours lists what reaches files, sockets or the tracer past the held calls.
// Container runtimes' default profiles refuse nearly all of them as well, so
// that programs cope. io_uring answers ENOSYS, which makes its users fall back
// to ordinary calls.
func detours() []guard {
	return []guard{
		{"io_uring_setup", unix.ENOSYS, nil},
		{"io_uring_enter", unix.ENOSYS, nil},
		{"io_uring_register", unix.ENOSYS, nil},
		{"open_by_handle_at", unix.EPERM, nil}, // opens by inode, no path
		{"userfaultfd", unix.EPERM, nil},       // stalls the tracer's reads of the workload's memory
		{"pidfd_getfd", unix.EPERM, nil},       // takes descriptors from other processes
		{"fsopen", unix.EPERM, nil},            // the mount API aliases paths
		{"fsmount", unix.EPERM, nil},
		{"fsconfig", unix.EPERM, nil},
		{"fspick", unix.EPERM, nil},
		{"open_tree", unix.EPERM, nil},
		{"move_mount", unix.EPERM, nil},
		{"mount_setattr", unix.EPERM, nil},
		// Gives a process another program's name, by which rules know it. (It takes
		// CAP_SYS_RESOURCE, or the root of a user namespace.)
		{"prctl", unix.EPERM, []syscalls.Condition{{is(0, unix.PR_SET_MM)}}},
	}
}

// attacks lists what blinds or weakens the tracer: takes its descriptors or its
// processor from it, or looks into it. The number is that of its first thread;
// limits and schedulers take those of the others too, and are held for that (see
// package syscalls). The rest looks into a process, which the kernel refuses for
// each of the tracer's threads because it is not dumpable; being refused by its
// number as well costs nothing. What a process does to itself passes: it is
// number 0, or a number of its own.
func attacks(tracer int) []guard {
	pid := uint64(tracer)
	on := func(name string, conditions ...syscalls.Condition) guard { return guard{name, unix.EPERM, conditions} }
	first := syscalls.Condition{is(0, pid)}
	second := syscalls.Condition{is(1, pid)}
	return []guard{
		on("prlimit64", first),
		on("setpriority", syscalls.Condition{is(0, syscalls.PrioProcess), is(1, pid)}),
		on("ioprio_set", syscalls.Condition{is(0, syscalls.IoprioProcess), is(1, pid)}),
		on("sched_setparam", first),
		on("sched_setscheduler", first),
		on("sched_setaffinity", first),
		on("sched_setattr", first),
		on("migrate_pages", first),
		on("move_pages", first),
		on("process_vm_readv", first),
		on("process_vm_writev", first),
		on("kcmp", first, second),
		on("ptrace", syscalls.Condition{is(0, unix.PTRACE_ATTACH), is(1, pid)}, syscalls.Condition{is(0, unix.PTRACE_SEIZE), is(1, pid)}),
	}
}

// is compares an argument that the kernel takes as int.
func is(arg uint, value uint64) syscalls.Match {
	return syscalls.Match{Arg: arg, Mask: syscalls.Int, Value: value}
}
