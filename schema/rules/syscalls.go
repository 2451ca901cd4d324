package rules

import (
	"path"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// syscallRules are the rules about calls by their names. They audit: KubeArmor has
// nothing else for them.
type syscallRules struct {
	class
	byName map[string][]*syscallRule
}

// syscallRule is one rule: about any path, or about one.
type syscallRule struct {
	path    filePlace   // zero: any
	sources []filePlace // none: any program
	verdict Verdict
}

// filePlace is a path, or a directory, of a rule about calls.
type filePlace struct {
	path           string // a directory without its final "/"
	dir, recursive bool
}

func placeOf(name string, dir, recursive bool) filePlace {
	dir = dir || strings.HasSuffix(name, "/")
	name = path.Clean(name)
	if dir {
		name = directory(name)
	}
	return filePlace{path: name, dir: dir, recursive: recursive}
}

// holds says whether a path is the place, or in it. As in KubeArmor a directory
// that is not recursive is, as a path, the directory alone, and as a source what
// is in it directly.
func (p *filePlace) holds(name string, children bool) bool {
	if !p.dir {
		return name == p.path
	}
	rest, below := strings.CutPrefix(name, p.path)
	switch {
	case !below || rest != "" && rest[0] != '/':
		return false
	case rest == "" || rest == "/" || p.recursive:
		return true
	}
	return children && !strings.Contains(rest[1:], "/")
}

func (s *syscallRules) decide(a *Access) (v Verdict) {
	for _, r := range s.byName[a.Name] { // the last one that matches tells
		if r.matches(a) {
			v = r.verdict
		}
	}
	return v
}

func (r *syscallRule) matches(a *Access) bool {
	if r.path.path != "" || r.path.dir {
		if a.Path == "" || !r.path.holds(a.Path, false) {
			return false
		}
	}
	for i := range r.sources {
		if r.sources[i].holds(a.Source, true) {
			return true
		}
	}
	return len(r.sources) == 0
}

// AuditsCall says whether a rule is about a system call, by its name.
func (r *Rules) AuditsCall(name string) bool {
	return len(r.syscalls.byName[name]) > 0 || r.watched != nil && r.watched.AuditsCall(name)
}

func (c *compiler) syscall(r *spolicy.SyscallRule) {
	s := &c.rules.syscalls
	rule := syscallRule{verdict: s.newRule(c.doc.Name, r.Effect, limits{}).verdict}
	if r.Path != "" {
		rule.path = placeOf(r.Path, false, r.Recursive)
	}
	for _, from := range r.FromSource {
		if from.Dir != "" {
			rule.sources = append(rule.sources, placeOf(from.Dir, true, from.Recursive))
		} else {
			rule.sources = append(rule.sources, placeOf(from.Path, false, false))
		}
	}
	var unseen []string
	for _, name := range r.Syscalls {
		op := SyscallOperation(name)
		if op == 0 {
			unseen = append(unseen, name)
			continue
		}
		s.byName[name] = append(s.byName[name], &rule)
		c.rules.can.alerted.add(op, nil)
	}
	if len(unseen) > 0 {
		c.note("syscalls", r.Action, strings.Join(unseen, ", ")+": not observed")
	}
}

// SyscallOperation is the operation that a call with a name is, 0 for one that is
// not observed, or not always.
func SyscallOperation(name string) Operation {
	switch name {
	case "execve", "execveat":
		return Process
	case "open", "openat", "openat2":
		return File
	case "creat", "unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
		"mkdir", "mkdirat", "mknod", "mknodat", "truncate", "chmod", "fchmod", "fchmodat", "fchmodat2",
		"chown", "lchown", "fchown", "fchownat", "utime", "utimes", "futimesat", "utimensat",
		"setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr":
		return FileWrite
	case "connect", "bind", "listen":
		return Network
	case "accept", "accept4":
		return NetworkAccept
	case "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups", "capset",
		"chroot", "pivot_root", "unshare", "setns", "mount", "umount2", "ptrace", "process_vm_writev",
		"keyctl", "add_key", "request_key", "bpf", "perf_event_open", "memfd_create",
		"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff",
		"sethostname", "setdomainname", "settimeofday", "clock_settime", "acct", "iopl", "ioperm",
		"name_to_handle_at", "io_uring_setup", "userfaultfd", "open_by_handle_at", "pidfd_getfd",
		"fsopen", "fspick", "open_tree", "move_mount", "mount_setattr":
		return Syscall
	}
	return 0
}
