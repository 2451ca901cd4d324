package syscalls

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
)

// Table returns every row, in the order of the IDs. The slice is the caller's own.
func Table() []Spec {
	return slices.Concat(programs(), files(), changing(), sockets(), directories(), confinements(), starts(), victims(), reaching())
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

// change is a row of a call that changes what directories hold, or a file itself
// without opening it. Arguments count from 1: what is 0 it has not.
type change struct {
	id                       ID
	name                     string
	amd64, arm64             int16
	dirfd, path, fd, flags   int8
	newDirfd, newPath        int8
	mode, owner, times, attr int8
}

// changes has the calls in the order of their IDs: first those about names.
var changes = [...]change{
	{id: Unlink, name: "unlink", amd64: 87, arm64: Absent, path: 1},
	{id: Unlinkat, name: "unlinkat", amd64: 263, arm64: 35, dirfd: 1, path: 2, flags: 3},
	{id: Rmdir, name: "rmdir", amd64: 84, arm64: Absent, path: 1},
	{id: Rename, name: "rename", amd64: 82, arm64: Absent, path: 1, newPath: 2},
	{id: Renameat, name: "renameat", amd64: 264, arm64: 38, dirfd: 1, path: 2, newDirfd: 3, newPath: 4},
	{id: Renameat2, name: "renameat2", amd64: 316, arm64: 276, dirfd: 1, path: 2, newDirfd: 3, newPath: 4, flags: 5},
	{id: Link, name: "link", amd64: 86, arm64: Absent, path: 1, newPath: 2},
	{id: Linkat, name: "linkat", amd64: 265, arm64: 37, dirfd: 1, path: 2, newDirfd: 3, newPath: 4, flags: 5},
	{id: Symlink, name: "symlink", amd64: 88, arm64: Absent, path: 2},
	{id: Symlinkat, name: "symlinkat", amd64: 266, arm64: 36, dirfd: 2, path: 3},
	{id: Mkdir, name: "mkdir", amd64: 83, arm64: Absent, path: 1, mode: 2},
	{id: Mkdirat, name: "mkdirat", amd64: 258, arm64: 34, dirfd: 1, path: 2, mode: 3},
	{id: Mknod, name: "mknod", amd64: 133, arm64: Absent, path: 1, mode: 2},
	{id: Mknodat, name: "mknodat", amd64: 259, arm64: 33, dirfd: 1, path: 2, mode: 3},

	{id: Truncate, name: "truncate", amd64: 76, arm64: 45, path: 1},
	{id: Chmod, name: "chmod", amd64: 90, arm64: Absent, path: 1, mode: 2},
	{id: Fchmod, name: "fchmod", amd64: 91, arm64: 52, fd: 1, mode: 2},
	{id: Fchmodat, name: "fchmodat", amd64: 268, arm64: 53, dirfd: 1, path: 2, mode: 3},
	{id: Fchmodat2, name: "fchmodat2", amd64: 452, arm64: 452, dirfd: 1, path: 2, mode: 3, flags: 4},
	{id: Chown, name: "chown", amd64: 92, arm64: Absent, path: 1, owner: 2},
	{id: Lchown, name: "lchown", amd64: 94, arm64: Absent, path: 1, owner: 2},
	{id: Fchown, name: "fchown", amd64: 93, arm64: 55, fd: 1, owner: 2},
	{id: Fchownat, name: "fchownat", amd64: 260, arm64: 54, dirfd: 1, path: 2, owner: 3, flags: 5},
	{id: Utime, name: "utime", amd64: 132, arm64: Absent, path: 1, times: 2},
	{id: Utimes, name: "utimes", amd64: 235, arm64: Absent, path: 1, times: 2},
	{id: Futimesat, name: "futimesat", amd64: 261, arm64: Absent, dirfd: 1, path: 2, times: 3},
	{id: Utimensat, name: "utimensat", amd64: 280, arm64: 88, dirfd: 1, path: 2, times: 3, flags: 4},
	{id: Setxattr, name: "setxattr", amd64: 188, arm64: 5, path: 1, attr: 2},
	{id: Lsetxattr, name: "lsetxattr", amd64: 189, arm64: 6, path: 1, attr: 2},
	{id: Fsetxattr, name: "fsetxattr", amd64: 190, arm64: 7, fd: 1, attr: 2},
	{id: Removexattr, name: "removexattr", amd64: 197, arm64: 14, path: 1, attr: 2},
	{id: Lremovexattr, name: "lremovexattr", amd64: 198, arm64: 15, path: 1, attr: 2},
	{id: Fremovexattr, name: "fremovexattr", amd64: 199, arm64: 16, fd: 1, attr: 2},
}

// changing are the rows of changes.
func changing() []Spec {
	all := make([]Spec, len(changes))
	for i := range changes {
		c := &changes[i]
		s := row(c.id, c.name, int(c.amd64), int(c.arm64), rules.FileWrite)
		for to, position := range map[*int]int8{
			&s.Dirfd: c.dirfd, &s.Path: c.path, &s.FD: c.fd, &s.Flags: c.flags, &s.NewDirfd: c.newDirfd, &s.NewPath: c.newPath,
			&s.Mode: c.mode, &s.Owner: c.owner, &s.Times: c.times, &s.Attr: c.attr,
		} {
			*to = int(position) - 1 // None is -1
		}
		switch {
		case c.id == Mknod || c.id == Mknodat:
			s.Capability = unix.CAP_MKNOD
		case s.Mode != None && c.id != Mkdir && c.id != Mkdirat:
			s.Capability = unix.CAP_FOWNER
		case s.Owner != None:
			s.Capability = unix.CAP_CHOWN
		case s.Times != None:
			s.Capability = unix.CAP_FOWNER
		case s.Attr != None:
			s.Capability = unix.CAP_SETFCAP
		}
		all[i] = s
	}
	return all
}

// sockets are the calls that make sockets (socket's arguments are domain, type and
// protocol) and give them an address, connect them, or send. The data
// that MSG_FASTOPEN sends opens a connection. Where a message has an address, that is in
// memory. Queries for names go by all calls that send.
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
	const sends = rules.Network | rules.NetworkSend | rules.NetworkDNS
	send := func(id ID, name string, amd64, arm64, msg, flags int) Spec {
		s := on(id, name, amd64, arm64, None, sends)
		s.Msg, s.Flags = msg, flags
		s.Narrow = []Narrow{{rules.Network, anyBit(uint(flags), unix.MSG_FASTOPEN)}}
		return s
	}
	sendto := send(Sendto, "sendto", 44, 206, None, 3)
	sendto.Addr = 4
	addressed := append(anyBit(3, unix.MSG_FASTOPEN), Condition{other(4, 0)})
	sendto.Narrow = append(sendto.Narrow, Narrow{rules.Network | rules.NetworkSend, addressed})
	sendto.When = append(addressed, Condition{short(2, maxQuery)})
	peercred := on(Getsockopt, "getsockopt", 55, 209, None, rules.Network)
	peercred.When = []Condition{{equal(1, unix.SOL_SOCKET), equal(2, unix.SO_PEERCRED)}}
	write, writev := on(Write, "write", 1, 64, None, rules.NetworkDNS), on(Writev, "writev", 20, 66, None, rules.NetworkDNS)
	write.When = []Condition{{short(2, maxQuery), least(0, 3)}}
	writev.When = []Condition{{short(2, maxParts), least(0, 3)}}
	bind := on(Bind, "bind", 49, 200, 1, rules.Network|rules.FileWrite) // a Unix socket is a file
	bind.Capability = unix.CAP_NET_BIND_SERVICE
	return []Spec{
		on(Connect, "connect", 42, 203, 1, rules.Network),
		bind,
		on(Listen, "listen", 50, 201, None, rules.Network),
		on(Accept, "accept", 43, 202, None, rules.NetworkAccept),
		on(Accept4, "accept4", 288, 242, None, rules.NetworkAccept),
		socket,
		sendto,
		send(Sendmsg, "sendmsg", 46, 211, 1, 2),
		send(Sendmmsg, "sendmmsg", 307, 269, 1, 3),
		write, writev,
		peercred,
	}
}

// Bounds, powers of two, of what a query for a name is written by, one over TCP
// included: of its bytes, and of the buffers that they are in. Standard input, output
// and error are not looked at.
const (
	maxQuery = 1024
	maxParts = 16
)

// short is true of arguments that are less than a power of two.
func short(arg uint, than uint64) Match { return Match{Arg: arg, Mask: ^(than - 1)} }

// least is true of arguments that are not less than value.
func least(arg uint, value uint64) Match {
	return Match{Arg: arg, Mask: All, Value: value, Least: true}
}

// typeMask is SOCK_TYPE_MASK of the kernel (include/linux/net.h): the rest of a
// socket's type is flags.
const typeMask = 0xf

// directories are the calls that change what a relative path leads to.
func directories() []Spec {
	chdir, fchdir := row(Chdir, "chdir", 80, 49, 0), row(Fchdir, "fchdir", 81, 50, 0)
	chdir.Path, fchdir.FD = 0, 0
	return []Spec{chdir, fchdir}
}

// confinements are the calls by which a program forbids itself files.
func confinements() []Spec {
	return []Spec{
		row(LandlockCreateRuleset, "landlock_create_ruleset", 444, 444, 0),
		row(LandlockRestrictSelf, "landlock_restrict_self", 446, 446, 0),
	}
}

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
