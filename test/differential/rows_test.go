package differential

import (
	"strings"
	"time"
)

// What is random by nature wherever it occurs.
var (
	// Shells say which process was killed.
	pids = replacement{`line (\d+): +\d+ (Killed|Terminated)`, "line $1: PID $2"}
	// How fast something was.
	speeds = replacement{`in \d+s \([^)]*/s\)`, "in no time"}
)

// Where the kernel or the design leaves no choice.
var (
	lessRights = known{`output: [-+](Cap(Prm|Eff|Bnd)|NoNewPrivs):\t`, "docs/tracer.md, What the workload notices: CAP_SYS_PTRACE is taken, no_new_privs is set"}
	openPath   = known{`output: [-+]openat2 O_PATH: (fd|ENOSYS)`, "docs/tracer.md, What the workload notices: openat2 with O_PATH is ENOSYS"}
	emfile     = known{`output: [-+](root again: )?no descriptor left `, "docs/tracer.md, What the workload notices: another error where there is no descriptor left"}
	otherUser  = known{`output: [-+]another user: `, "docs/tracer.md, What the workload notices: a process that changed its user without an exec, where CAP_SYS_PTRACE is missing"}
	namespaces = known{`output: [-+]user namespace open: `, "docs/tracer.md, What the workload notices: capabilities in a user namespace of the workload's own"}
	undumpable = known{`output: [-+](not dumpable |  new|(EACCES|fd 3)( +(EACCES|fd 3)){2} *$)`, "docs/tracer.md, What the workload notices: a process that is not dumpable, where CAP_SYS_PTRACE is missing"}
	// Its subshell has one descriptor left, which the loader wants to open the library.
	spareNumber = known{`output: (-x|-0|\+cat: error while loading shared libraries: .*: Error 24|\+127)$`, "docs/tracer.md, Engines: an open takes one number beside its own for a moment"}
	straceBPF   = known{`output: ([-+]\d+ with --seccomp-bpf$|\+strace: Stray PTRACE_EVENT_EXEC)`, "the kernel ranks the tracer's filter before strace's; plain strace sees all"}
)

// python gives the row of some files of CPython's own tests.
func python(name, tests string, as ...identity) row {
	return row{
		name: "python " + name, debs: "python3.11 libpython3.11-testsuite", commands: "/usr/bin/python3.11",
		script: "python-tests.sh", args: strings.Fields(tests), as: as, diary: true, limit: 4 * time.Minute,
		// Addresses, and pids and names of temporary files.
		replace: []replacement{{`0x[0-9a-f]{6,}`, "ADDRESS"}, {`(@test_)\d+|\d{4,}`, "${1}NUMBER"}},
	}
}

// The longest come first, for the others to run beside them.
var rows = []row{
	// The test that is left out fails on a busy machine.
	python("signal", "-i test_stress_modifying_handlers test_signal", root),
	python("subprocess", "test_subprocess", root, nobody),
	python("os", "test_os test_posix test_tempfile test_pty test_openpty test_fcntl test_shutil test_pathlib test_glob test_ioctl test_resource "+
		"test_fileio test_file test_mmap test_dbm test_posixpath test_genericpath test_pwd test_stat", root, nobody, container),
	python("processes", "test_eintr test_wait3 test_wait4 test_fork1 test_popen test_threadsignals test_runpy test_getpass test_httpservers test_socketserver test_epoll test_bdb", nobody),
	python("archives", "test_tarfile test_mailbox test_zipfile test_venv test_import test_shelve test_fileinput", container),
	{name: "postgres", debs: "postgresql", commands: "pgbench psql", script: "postgres.sh", as: []identity{root, nobody}},
	{name: "redis", debs: "redis-server redis-tools", commands: "redis-server redis-benchmark redis-cli", script: "redis.sh", ptrace: true, as: []identity{nobody}},
	{name: "nginx", debs: "nginx-light curl", commands: "nginx curl", script: "nginx.sh", ptrace: true, as: []identity{root, nobody, container}},
	{name: "sqlite", debs: "sqlite3", commands: "sqlite3", script: "sqlite.sh", as: []identity{nobody, container}},
	{name: "apt", debs: "apt dpkg", commands: "apt-get dpkg", script: "apt.sh", limit: time.Minute, replace: []replacement{speeds}, as: []identity{root, nobody, container}},
	{name: "gcc", debs: "gcc binutils", commands: "gcc ar", script: "gcc.sh", as: []identity{root, nobody}},
	{name: "git", debs: "git", commands: "git", script: "git.sh", as: []identity{root, nobody}},
	{name: "tar", debs: "tar bzip2 xz-utils busybox-static", commands: "tar bzip2 xz busybox", script: "tar.sh", as: []identity{root, nobody, container}},
	{name: "node", debs: "nodejs", commands: "node", script: "node.sh", as: []identity{root, nobody}},
	{name: "java", debs: "openjdk-17-jdk-headless", commands: "java javac jar", script: "java.sh", as: []identity{nobody}},
	{name: "perl", debs: "perl", commands: "perl", script: "perl.pl", limit: time.Minute, as: []identity{root, nobody}},
	{name: "bash", debs: "bash", commands: "bash", script: "bash.sh", replace: []replacement{pids}, onPtrace: []known{spareNumber}, ptrace: true, as: []identity{root, nobody}},
	{name: "busybox", debs: "busybox-static dash", commands: "busybox dash", script: "busybox.sh", ptrace: true, as: []identity{root, nobody}},
	{name: "tools", debs: "coreutils bsdutils patch", commands: "script patch ps", script: "tools.sh", replace: []replacement{pids}, known: []known{lessRights}, as: []identity{root, nobody, container}},
	{name: "users", debs: "util-linux perl busybox-static", commands: "setpriv unshare chroot perl busybox", script: "users.sh", ptrace: true, as: []identity{root, container}},
	{name: "strace", debs: "strace", commands: "strace", script: "strace.sh", traces: true, known: []known{straceBPF}, as: []identity{root, nobody}},
	{name: "threads", debs: "gcc", commands: "cc", script: "threads.sh", ptrace: true, as: []identity{root, nobody}},
	{name: "rights", debs: "python3.11", commands: "/usr/bin/python3.11", script: "rights.py", known: []known{namespaces, undumpable}, ptrace: true, as: []identity{root, nobody, container}},
	{name: "opens", debs: "python3.11", commands: "/usr/bin/python3.11", script: "opens.py", known: []known{openPath, emfile, otherUser}, ptrace: true, as: []identity{root, nobody, container}},
}
