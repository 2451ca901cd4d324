package syscalls

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
)

// Table returns every row, in the order of the IDs. The slice is the caller's own.
func Table() []Spec {
	return slices.Concat(programs(), files(), names(), inodes(), sockets(), namespaces(), credentials(), starts(), victims(),
		escapes(), detours(), signals(), maps())
}

// row is a call without any of the arguments that have a place in Spec.
func row(id ID, name string, amd64, arm64 int, op rules.Operation) Spec {
	return Spec{
		ID: id, Name: name, AMD64: amd64, ARM64: arm64, Op: op,
		Dirfd: None, Path: None, Flags: None, Argv: None, FD: None, Addr: None, Msg: None,
		NewDirfd: None, NewPath: None, Mode: None, Times: None, Attr: None, Owner: None, Victim: None, Which: None, Capability: None,
	}
}

// programs are held while any other call is: whatever is asked about a call,
// which program makes it is part of the answer.
func programs() []Spec {
	exec := func(s Spec, dirfd, path, argv, flags int) Spec {
		s.Dirfd, s.Path, s.Argv, s.Flags = dirfd, path, argv, flags
		return s
	}
	return []Spec{
		exec(row(Execve, "execve", 59, 221, rules.Process), None, 0, 1, None),
		exec(row(Execveat, "execveat", 322, 281, rules.Process), 0, 1, 2, 4),
	}
}

func files() []Spec {
	file := func(s Spec, dirfd, path, flags int) Spec {
		s.Dirfd, s.Path, s.Flags = dirfd, path, flags
		return s
	}
	withFlags := func(s Spec, dirfd, path, flags int) Spec {
		s.Narrow = []Narrow{{rules.FileWrite, anyBit(uint(flags), unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC)}}
		return file(s, dirfd, path, flags)
	}
	return []Spec{
		withFlags(row(Open, "open", 2, Absent, rules.File), None, 0, 1),
		file(row(Creat, "creat", 85, Absent, rules.FileWrite), None, 0, None),
		withFlags(row(Openat, "openat", 257, 56, rules.File), 0, 1, 2),
		file(row(Openat2, "openat2", 437, 437, rules.File), 0, 1, 2), // the flags are in memory
	}
}

// names are the calls that change what directories hold.
func names() []Spec {
	name := func(id ID, name string, amd64, arm64, dirfd, path, flags int) Spec {
		s := row(id, name, amd64, arm64, rules.FileWrite)
		s.Dirfd, s.Path, s.Flags = dirfd, path, flags
		return s
	}
	two := func(s Spec, dirfd, path int) Spec {
		s.NewDirfd, s.NewPath = dirfd, path
		return s
	}
	made := func(s Spec, mode int) Spec {
		s.Mode = mode
		return s
	}
	device := func(s Spec) Spec {
		s.Capability = unix.CAP_MKNOD
		return s
	}
	return []Spec{
		name(Unlink, "unlink", 87, Absent, None, 0, None),
		name(Unlinkat, "unlinkat", 263, 35, 0, 1, 2),
		name(Rmdir, "rmdir", 84, Absent, None, 0, None),
		two(name(Rename, "rename", 82, Absent, None, 0, None), None, 1),
		two(name(Renameat, "renameat", 264, 38, 0, 1, None), 2, 3),
		two(name(Renameat2, "renameat2", 316, 276, 0, 1, 4), 2, 3),
		two(name(Link, "link", 86, Absent, None, 0, None), None, 1),
		two(name(Linkat, "linkat", 265, 37, 0, 1, 4), 2, 3),
		name(Symlink, "symlink", 88, Absent, None, 1, None),
		name(Symlinkat, "symlinkat", 266, 36, 1, 2, None),
		made(name(Mkdir, "mkdir", 83, Absent, None, 0, None), 1),
		made(name(Mkdirat, "mkdirat", 258, 34, 0, 1, None), 2),
		device(made(name(Mknod, "mknod", 133, Absent, None, 0, None), 1)),
		device(made(name(Mknodat, "mknodat", 259, 33, 0, 1, None), 2)),
	}
}

// inodes are the calls that change a file itself, without opening it.
func inodes() []Spec {
	inode := func(id ID, name string, amd64, arm64, dirfd, path, fd, flags int) Spec {
		s := row(id, name, amd64, arm64, rules.FileWrite)
		s.Dirfd, s.Path, s.FD, s.Flags = dirfd, path, fd, flags
		return s
	}
	mode := func(s Spec, mode int) Spec {
		s.Mode, s.Capability = mode, unix.CAP_FOWNER
		return s
	}
	owner := func(s Spec, owner int) Spec {
		s.Owner, s.Capability = owner, unix.CAP_CHOWN
		return s
	}
	times := func(s Spec, times int) Spec {
		s.Times = times
		return s
	}
	attribute := func(s Spec) Spec {
		s.Attr = 1
		return s
	}
	return []Spec{
		inode(Truncate, "truncate", 76, 45, None, 0, None, None),
		mode(inode(Chmod, "chmod", 90, Absent, None, 0, None, None), 1),
		mode(inode(Fchmod, "fchmod", 91, 52, None, None, 0, None), 1),
		mode(inode(Fchmodat, "fchmodat", 268, 53, 0, 1, None, None), 2),
		mode(inode(Fchmodat2, "fchmodat2", 452, 452, 0, 1, None, 3), 2),
		owner(inode(Chown, "chown", 92, Absent, None, 0, None, None), 1),
		owner(inode(Lchown, "lchown", 94, Absent, None, 0, None, None), 1),
		owner(inode(Fchown, "fchown", 93, 55, None, None, 0, None), 1),
		owner(inode(Fchownat, "fchownat", 260, 54, 0, 1, None, 4), 2),
		times(inode(Utime, "utime", 132, Absent, None, 0, None, None), 1),
		times(inode(Utimes, "utimes", 235, Absent, None, 0, None, None), 1),
		times(inode(Futimesat, "futimesat", 261, Absent, 0, 1, None, None), 2),
		times(inode(Utimensat, "utimensat", 280, 88, 0, 1, None, 3), 2),
		attribute(inode(Setxattr, "setxattr", 188, 5, None, 0, None, None)),
		attribute(inode(Lsetxattr, "lsetxattr", 189, 6, None, 0, None, None)),
		attribute(inode(Fsetxattr, "fsetxattr", 190, 7, None, None, 0, None)),
		attribute(inode(Removexattr, "removexattr", 197, 14, None, 0, None, None)),
		attribute(inode(Lremovexattr, "lremovexattr", 198, 15, None, 0, None, None)),
		attribute(inode(Fremovexattr, "fremovexattr", 199, 16, None, None, 0, None)),
	}
}

// sockets are the calls that make sockets (socket's arguments are domain, type and
// protocol) and give them an address, connect them, or send to an address. The
// data that MSG_FASTOPEN sends opens a connection. Where a message has an address,
// that is in memory.
func sockets() []Spec {
	on := func(id ID, name string, amd64, arm64, addr int, op rules.Operation) Spec {
		s := row(id, name, amd64, arm64, op)
		s.FD, s.Addr = 0, addr
		return s
	}
	socket := row(Socket, "socket", 41, 198, rules.Network)
	socket.When = []Condition{ // those that see or forge what is others'; netlink sockets are raw as well, and anybody's
		{equal(0, unix.AF_PACKET)},
		{{Arg: 1, Mask: typeMask, Value: unix.SOCK_RAW}, other(0, unix.AF_NETLINK)},
		{{Arg: 1, Mask: typeMask, Value: unix.SOCK_PACKET}},
		{equal(0, unix.AF_INET), equal(2, unix.IPPROTO_ICMP)},
		{equal(0, unix.AF_INET6), equal(2, unix.IPPROTO_ICMPV6)},
	}
	send := func(s Spec, msg, flags int, addressed []Condition) Spec {
		s.Msg, s.Flags = msg, flags
		opening := anyBit(uint(flags), unix.MSG_FASTOPEN)
		s.Narrow = []Narrow{{rules.Network, opening}}
		if addressed != nil {
			s.Narrow = append(s.Narrow, Narrow{rules.Network | rules.NetworkSend, slices.Concat(opening, addressed)})
		}
		return s
	}
	const both = rules.Network | rules.NetworkSend
	return []Spec{
		on(Connect, "connect", 42, 203, 1, rules.Network),
		on(Bind, "bind", 49, 200, 1, rules.Network),
		on(Listen, "listen", 50, 201, None, rules.Network),
		on(Accept, "accept", 43, 202, None, rules.NetworkAccept),
		on(Accept4, "accept4", 288, 242, None, rules.NetworkAccept),
		socket,
		send(on(Sendto, "sendto", 44, 206, 4, both), None, 3, []Condition{{other(4, 0)}}),
		send(on(Sendmsg, "sendmsg", 46, 211, None, both), 1, 2, nil),
		send(on(Sendmmsg, "sendmmsg", 307, 269, None, both), 1, 3, nil),
	}
}

// typeMask is SOCK_TYPE_MASK of the kernel (include/linux/net.h): the rest of a
// socket's type is flags.
const typeMask = 0xf

// starts are calls of which programs make one as they start, before they can have
// handlers of signals, and hardly ever again: C libraries the first, the Go runtime
// the second.
func starts() []Spec {
	affinity := row(SchedGetaffinity, "sched_getaffinity", 204, 123, 0)
	affinity.When = []Condition{{equal(0, 0)}}
	return []Spec{row(SetTidAddress, "set_tid_address", 218, 96, 0), affinity}
}

// What a number is of, for setpriority and for ioprio_set, when it is of a thread.
const (
	PrioProcess   = unix.PRIO_PROCESS
	IoprioProcess = 1 // IOPRIO_WHO_PROCESS in include/uapi/linux/ioprio.h
)

// victims are the calls that take limits, processor time or disk time from a
// thread that the caller names. Of the tracer's threads only the first one's
// number is known to the filter, which refuses that by itself. What a thread does
// to itself, which is number 0, does not stop.
func victims() []Spec {
	thread := func(s Spec) Spec {
		s.Victim, s.When = 0, []Condition{{other(0, 0)}}
		return s
	}
	either := func(s Spec, thread uint64) Spec {
		s.Which, s.Victim = 0, 1
		s.When = []Condition{{equal(0, thread), other(1, 0)}, {other(0, thread)}}
		return s
	}
	return []Spec{
		thread(row(Prlimit64, "prlimit64", 302, 261, 0)),
		either(row(Setpriority, "setpriority", 141, 140, 0), PrioProcess),
		either(row(IoprioSet, "ioprio_set", 251, 30, 0), IoprioProcess),
		thread(row(SchedSetparam, "sched_setparam", 142, 118, 0)),
		thread(row(SchedSetscheduler, "sched_setscheduler", 144, 119, 0)),
		thread(row(SchedSetaffinity, "sched_setaffinity", 203, 122, 0)),
		thread(row(SchedSetattr, "sched_setattr", 314, 274, 0)),
	}
}

// equal compares an argument that the kernel takes as int.
func equal(arg uint, value uint64) Match { return Match{Arg: arg, Mask: Int, Value: value} }

// other is true of arguments that are not value. It looks at the whole register,
// for filters have no other way: something in the upper half holds a call that
// need not stop, and never lets one pass.
func other(arg uint, value uint64) Match { return Match{Arg: arg, Mask: All, Value: value, Not: true} }

// anyBit is true of arguments that have a bit of mask. A filter compares all of
// a mask at once, so it takes a condition for each bit.
func anyBit(arg uint, mask uint64) (when []Condition) {
	for bit := uint64(1); bit != 0; bit <<= 1 {
		if mask&bit != 0 {
			when = append(when, Condition{{Arg: arg, Mask: bit, Value: bit}})
		}
	}
	return when
}
