package paths

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
	"golang.org/x/sys/unix"
)

const otherUID = 1000

func mount(t *testing.T, source, target, kind string, flags uintptr) {
	t.Helper()
	must(t, os.MkdirAll(target, 0o755))
	must(t, unix.Mount(source, target, kind, flags, ""))
	t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
}

// Wherever procfs is mounted, "self" is the workload.
func testProcfsElsewhere(t *testing.T) {
	g := newRig(t)
	dir := t.TempDir()
	root := filepath.Join(dir, "jail")
	mount(t, "/proc", dir+"/bind", "", unix.MS_BIND)
	mount(t, "proc", dir+"/own", "proc", 0)
	mount(t, "proc", root+"/proc", "proc", 0)
	must(t, os.Symlink("bind/self/status", dir+"/link"))
	paths := []string{
		"bind/self/status", "own/self/status", "own/thread-self/comm", "bind/self", "own/self/", "bind/self/cwd", "own/self/root/etc",
		"link", "own/mounts", "own/net/dev", "jail/proc/self/stat", "own/self/fd/0", "own/self/nothing",
	}
	g.victim.Do(command{Op: "chdir", Path: dir})
	for _, flags := range []Flags{0, NoFollow, InRoot, Beneath, NoXDev} {
		for _, p := range paths {
			g.same(lookup{dirfd: unix.AT_FDCWD, path: p, flags: flags})
			g.same(lookup{dirfd: unix.AT_FDCWD, path: dir + "/" + p, flags: flags})
		}
	}
	g.process(g.victim.PID).MarkRoot()
	g.victim.Do(command{Op: "chroot", Path: root})
	for _, flags := range []Flags{0, NoFollow, InRoot, Beneath, NoXDev} {
		for _, p := range []string{
			"/proc/self/status", "/proc/self", "/proc/self/root", "/proc/self/root/..", "/proc/self/cwd", "/proc/self/cwd/own/self/stat",
			"bind/self/status", "/proc/1/root", "/proc/self/exe",
		} {
			g.same(lookup{dirfd: unix.AT_FDCWD, path: p, flags: flags})
		}
	}
}

func testCrossingMounts(t *testing.T) {
	g := newRig(t)
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/a/b", 0o755))
	mount(t, "tmpfs", dir+"/tmp", "tmpfs", 0)
	mount(t, dir+"/a", dir+"/tmp/a", "", unix.MS_BIND)
	mount(t, dir+"/a", dir+"/over", "", unix.MS_BIND)
	must(t, os.Symlink(dir, dir+"/tmp/out"))
	g.victim.Do(command{Op: "chdir", Path: dir})
	for _, flags := range []Flags{0, NoXDev, Beneath, InRoot} {
		for _, p := range []string{"tmp", "tmp/..", "tmp/a/b/../../..", "over/b", "over/..", "tmp/out/a", "a/b", "tmp/a/b/../../a"} {
			g.same(lookup{dirfd: unix.AT_FDCWD, path: p, flags: flags})
		}
	}
}

// A process that changed its user id is resolved for as far as the kernel lets the tracer look.
func TestUserIDChange(t *testing.T) {
	processtest.NeedsRoot(t)
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o755))
	makeTree(t, dir, dir)
	g := newRig(t)
	v := g.victim
	v.Do(command{Op: "chdir", Path: dir})
	p := g.process(v.PID)
	must(t, p.KeepMemory(v.PID))
	v.Do(command{Op: "setuid", UID: otherUID})
	for how, r := range g.resolvers {
		expect := func(path, want string) {
			t.Helper()
			res, err := r.Resolve(p, v.PID, unix.AT_FDCWD, path, 0)
			if err != nil || res.Path != want {
				t.Errorf("%s: %q: %+v, %v; want %q", how, path, res, err, want)
			}
			res.Close()
		}
		expect("/etc/passwd", "/etc/passwd")
		expect("d/file", dir+"/d/file")
		expect("/proc/self/stat", "/proc/"+itoa(v.PID)+"/stat")
		if res, err := r.Resolve(p, v.PID, unix.AT_FDCWD, "/proc/self/fd/0", 0); hasPtrace(t) != (err == nil) ||
			err != nil && !errors.Is(err, process.ErrUnreadable) {
			t.Errorf("%s: %+v, %v", how, res, err)
		} else {
			res.Close()
		}
	}
	p.MarkCwd(v.PID)
	p.MarkExec(v.PID)
	v.Exec(command{Path: "/proc/self/exe"})
	for _, path := range []string{"d/file", "/proc/self/fd/0", "/proc/self/cwd/to-dir", "/proc/self/exe", "nothing", "to-file"} {
		g.same(lookup{dirfd: unix.AT_FDCWD, path: path})
	}
}

func hasPtrace(t *testing.T) bool {
	t.Helper()
	table, err := process.NewTable(process.Options{})
	must(t, err)
	defer table.Close()
	p, err := table.Get(os.Getpid())
	must(t, err)
	c, err := p.Credentials(os.Getpid())
	must(t, err)
	return c.CapEff&(1<<unix.CAP_SYS_PTRACE) != 0
}

// The workload's user may reach what root may not: on a network file system that squashes root, and through a
// symbolic link of its own in a directory like /tmp.
func TestOnlyTheWorkloadMayReach(t *testing.T) {
	processtest.NeedsRoot(t)
	base := t.TempDir()
	must(t, os.Chmod(filepath.Dir(base), 0o755))
	private := base + "/private"
	must(t, os.Mkdir(private, 0o700))
	must(t, os.WriteFile(private+"/file", nil, 0o600))
	must(t, os.Symlink("private/file", base+"/link"))
	must(t, unix.Chmod(base, 0o1777)) // sticky, as /tmp: see protected_symlinks in proc_sys_fs(5)
	for _, f := range []string{"/private/file", "/private", "/link"} {
		must(t, os.Lchown(base+f, otherUID, otherUID))
	}
	t.Cleanup(func() { must(t, os.Lchown(private, 0, 0)) }) // else who has no rights on files cannot remove it
	g := newRig(t)
	g.victim.Do(command{Op: "chdir", Path: base})
	g.victim.Do(command{Op: "setuid", UID: otherUID})
	g.victim.Exec(command{Path: "/proc/self/exe"})
	for _, p := range []string{"private/file", base + "/private/file", "private/nothing", "private/..", "link", base + "/link"} {
		g.same(lookup{dirfd: unix.AT_FDCWD, path: p})
	}
}

func TestFromResolve(t *testing.T) {
	for _, f := range []Flags{0, InRoot, Beneath, NoSymlinks, NoMagicLinks, NoXDev, InRoot | NoXDev} {
		if got := FromResolve(f.resolve() | 1<<40); got != f {
			t.Errorf("%b becomes %b", f, got)
		}
	}
}

func TestOwnNamesAreRecognised(t *testing.T) {
	proc, err := unix.Open("/proc", unix.O_PATH, 0)
	must(t, err)
	defer unix.Close(proc)
	r := &Resolver{ownPID: "/17"}
	for name, want := range map[string]bool{
		"/proc/17": true, "/proc/17/fd": true, "/x/17/task/18": true, "/proc/17 (deleted)": true,
		"/proc/171": false, "/proc/117": false, "/proc/7": false, "/proc/171/17": true, "": false, "pipe:[17]": false,
	} {
		if got := r.own(proc, name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	if fd, err := unix.Open("/", unix.O_PATH, 0); err != nil || r.own(fd, "/17/x") {
		t.Error("another file system is taken for procfs", err)
	} else {
		unix.Close(fd)
	}
}

func BenchmarkResolve(b *testing.B) {
	g := newRig(b)
	dir := b.TempDir()
	deep := dir + "/a/b/c/d"
	must(b, os.MkdirAll(deep, 0o755))
	must(b, os.WriteFile(deep+"/file", nil, 0o600))
	g.victim.Do(command{Op: "chdir", Path: deep})
	six := "/usr/share/zoneinfo/posix/Europe/Paris"
	if _, err := os.Stat(six); err != nil {
		six = "/" + strings.Join(strings.Split(deep, "/")[1:6], "/") + "/."
	}
	for _, how := range []string{"openat2", "walk"} {
		r := g.resolvers[how]
		for _, bb := range []struct{ name, path string }{
			{"2 components", "/etc/passwd"},
			{"6 components", six},
			{"relative", "file"},
			{"missing", "/etc/ld.so.preload.none"},
			{"proc self", "/proc/self/status"},
		} {
			b.Run(how+"/"+bb.name, func(b *testing.B) {
				p := g.process(g.victim.PID)
				b.ReportAllocs()
				for b.Loop() {
					res, err := r.Resolve(p, g.victim.PID, unix.AT_FDCWD, bb.path, 0)
					if err != nil {
						b.Fatal(err)
					}
					res.Close()
				}
			})
		}
	}
}
