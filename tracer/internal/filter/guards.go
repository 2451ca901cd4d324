package filter

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// guard is a call that the filter refuses to every workload by itself, without
// asking the tracer: always, or when one of the conditions is true.
type guard struct {
	name  string
	errno unix.Errno
	when  []syscalls.Condition
}

// guards are those of a program. What a held call does to the tracer is refused
// where it is answered.
func (o Options) guards() []guard {
	tracer := o.Tracer
	if tracer == 0 {
		tracer = os.Getpid()
	}
	all := detours()
	if o.Hold&(rules.Syscall|rules.Capabilities) != 0 {
		// Its flags are in memory, where no filter sees new namespaces: its callers make
		// do with clone, as they must under container runtimes' default profiles.
		all = append(all, guard{"clone3", unix.ENOSYS, nil})
	}
	for _, g := range attacks(tracer) {
		if o.Hold&rules.Syscall == 0 || g.name != "ptrace" && g.name != "process_vm_writev" {
			all = append(all, g)
		}
	}
	if o.Trace {
		all = append(all, newListener())
		if o.Hold&rules.Syscall == 0 { // else it is held, and refused by the engine
			all = append(all, attaching())
		}
	}
	return all
}

// detours lists the steps behind calls that are refused (see package syscalls), and
// what gets past the tracer by its arguments.
func detours() []guard {
	return []guard{
		{"io_uring_enter", unix.ENOSYS, nil},
		{"io_uring_register", unix.ENOSYS, nil},
		{"fsmount", unix.EPERM, nil},
		{"fsconfig", unix.EPERM, nil},
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

// newListener is a listener of the workload's own, which would be told of a call before
// the tracer is, and may let it run. The error is the kernel's under another listener.
func newListener() guard {
	const flag, setModeFilter = 1 << 3, 1
	return guard{"seccomp", unix.EBUSY, []syscalls.Condition{{is(0, setModeFilter), {Arg: 1, Mask: flag, Value: flag}}}}
}

// attaching makes another tracer, which the kernel refuses of a thread that is traced. It
// could let run what a child stops for that was made with CLONE_UNTRACED.
func attaching() guard {
	return guard{"ptrace", unix.EPERM, []syscalls.Condition{{is(0, unix.PTRACE_TRACEME)}, {is(0, unix.PTRACE_ATTACH)}, {is(0, unix.PTRACE_SEIZE)}}}
}

// is compares an argument that the kernel takes as int.
func is(arg uint, value uint64) syscalls.Match {
	return syscalls.Match{Arg: arg, Mask: syscalls.Int, Value: value}
}
