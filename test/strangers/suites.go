package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// suite is tests that others wrote.
type suite struct {
	name    string
	prepare func(ctx context.Context, dir string) ([]command, error) // dir is for what it builds
	read    func(c *command, out []byte, err error, got results)     // adds the results of a command
}

// command is one program of a suite.
type command struct {
	name string
	argv []string
	dir  string // where it runs; "" is an empty directory
}

// results are outcomes by the name of the test.
type results map[string]string

const (
	passed = "passed"
	failed = "failed"
)

func (r results) passed() (n int) {
	for _, outcome := range r {
		if outcome == passed {
			n++
		}
	}
	return n
}

func suites() []suite {
	return []suite{
		{"CPython 3.11", pythonModules, readPython},
		{"Go's standard library", goPackages, readGo},
		{"stress-ng", stressors, readStatus},
		{"Linux 6.1 selftests", selftests, readTAP},
	}
}

// pythonModules are modules of Debian's libpython3.11-testsuite.
func pythonModules(context.Context, string) (commands []command, err error) {
	for _, module := range strings.Fields("test_os test_posix test_subprocess test_signal test_socket test_pty test_mmap test_threading " +
		"test_multiprocessing_fork test_asyncio test_tempfile test_shutil test_pathlib test_fcntl test_selectors") {
		// Where there is VSOCK without a host to talk to, its tests never end.
		commands = append(commands, command{name: module, argv: []string{"/usr/bin/python3.11", "-m", "test", "-v", "-i", "*VSOCK*", module}})
	}
	return commands, nil
}

var pythonLine = regexp.MustCompile(`(?m)^\S+ \(([\w.]+)\)(?: \.\.\.|\n.* \.\.\.)`)

// readPython takes the tests that the module did not report as failed. A skipped one
// counts by that: output of threads can stand between a test's name and its result.
func readPython(c *command, out []byte, err error, got results) {
	bad := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:FAIL|ERROR): \S+ \(([\w.]+)`).FindAllSubmatch(out, -1) {
		bad[string(m[1])] = true
	}
	for _, m := range pythonLine.FindAllSubmatch(out, -1) {
		if got[string(m[1])] = passed; bad[string(m[1])] {
			got[string(m[1])] = failed
		}
	}
	readStatus(c, out, err, got)
}

// goPackages builds tests of the standard library as they come with the toolchain.
func goPackages(ctx context.Context, dir string) (commands []command, err error) {
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	source := filepath.Join(string(bytes.TrimSpace(root)), "src")
	for _, pkg := range strings.Fields("os os/exec os/signal os/user syscall net net/http io/fs path/filepath") {
		program := filepath.Join(dir, strings.ReplaceAll(pkg, "/", "_")+".test")
		if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, pkg).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go test -c %s: %w\n%s", pkg, err, out)
		}
		commands = append(commands, command{name: pkg, argv: []string{program, "-test.v", "-test.short"}, dir: filepath.Join(source, filepath.FromSlash(pkg))})
	}
	return commands, nil
}

var goLine = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL): (\S+)`)

func readGo(c *command, out []byte, err error, got results) {
	for _, m := range goLine.FindAllSubmatch(out, -1) {
		outcome := failed
		if string(m[1]) == "PASS" {
			outcome = passed
		}
		got[c.name+"."+string(m[2])] = outcome
	}
	readStatus(c, out, err, got)
}

// stressors are those of stress-ng that are about what the tracer has a part in.
func stressors(context.Context, string) (commands []command, err error) {
	if _, err := exec.LookPath("stress-ng"); err != nil {
		return nil, err
	}
	for _, s := range strings.Fields("access af-alg chdir chmod chown chroot clone close copy-file daemon dentry dir dirdeep dirmany dup eventfd exec " +
		"fallocate fcntl fiemap fifo file-ioctl filename flock fork fpunch fstat getdent hdd inotify io-uring iomix kill lease link locka " +
		"lockf lockofd memfd mknod mq null open pidfd pipe poll procfs ptrace pty readahead rename sem sendfile session set shm sigabrt " +
		"sigchld sigfd sigio signal sigpending sigq sigrt sigsegv sigsuspend sigtrap sock sockdiag sockfd sockmany sockpair splice " +
		"symlink sync-file tee timerfd tmpfs touch udp udp-flood umask umount unlink unshare urandom userfaultfd utime vfork vforkmany " +
		"wait xattr zombie") {
		commands = append(commands, command{name: s, argv: []string{"stress-ng", "--" + s, "2", "--" + s + "-ops", "20", "--timeout", "8", "--verify"}})
	}
	return commands, nil
}

// selftests builds tests of the kernel's own from Debian's linux-source-6.1.
func selftests(ctx context.Context, dir string) (commands []command, err error) {
	const archive, base = "/usr/src/linux-source-6.1.tar.xz", "linux-source-6.1/tools/testing/selftests/"
	programs := map[string][]string{
		"openat2": {"openat2_test"}, "clone3": {"clone3", "clone3_clear_sighand", "clone3_set_tid"},
		"pidfd":    {"pidfd_fdinfo_test", "pidfd_open_test", "pidfd_poll_test", "pidfd_setns_test", "pidfd_getfd_test"},
		"landlock": {"base_test", "ptrace_test", "fs_test"}, "ptrace": {"get_syscall_info", "peeksiginfo"}, "seccomp": {"seccomp_bpf"},
	}
	argv := []string{"-xJf", archive, "-C", dir, "--wildcards", base + "kselftest*"}
	for area := range programs {
		argv = append(argv, base+area+"/*")
	}
	if out, err := exec.CommandContext(ctx, "tar", argv...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("tar: %w\n%s", err, out)
	}
	for _, area := range slices.Sorted(maps.Keys(programs)) {
		at := filepath.Join(dir, base, area)
		for _, program := range programs[area] {
			argv := []string{"-O2", "-w", "-I..", "-o", program, program + ".c"}
			if area == "openat2" {
				argv = append(argv, "helpers.c")
			}
			cmd := exec.CommandContext(ctx, "cc", append(argv, "-lpthread", "-lcap")...)
			cmd.Dir = at
			if out, err := cmd.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("cc %s/%s: %w\n%s", area, program, err, out)
			}
			commands = append(commands, command{name: area + "/" + program, argv: []string{"./" + program}, dir: at})
		}
	}
	return commands, nil
}

var tapLine = regexp.MustCompile(`(?m)^(ok|not ok) (\d+) (.*)`)

// readTAP reads the Test Anything Protocol. What stands behind a colon or a number in
// brackets is a value of this run.
func readTAP(c *command, out []byte, _ error, got results) {
	for _, m := range tapLine.FindAllSubmatch(out, -1) {
		outcome := failed
		if string(m[1]) == "ok" {
			outcome = passed
		}
		name, _, _ := strings.Cut(string(m[3]), ":")
		name, _, _ = strings.Cut(name, " (")
		if !strings.Contains(name, ".") {
			name = string(m[2])
		}
		got[c.name+" "+name] = outcome
	}
}

// readStatus takes the exit status of a command for a test.
func readStatus(c *command, _ []byte, err error, got results) {
	got[c.name] = passed
	if err != nil {
		got[c.name] = failed
		fmt.Fprintln(os.Stderr, "   ", c.name, err)
	}
}
