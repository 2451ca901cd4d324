package paths

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/tracer/internal/process/processtest"
	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// makeTree lays out files for hostile paths in dir; links that start with a slash lead to names below root.
func makeTree(tb testing.TB, dir, root string) {
	tb.Helper()
	long := strings.Repeat("n", 255)
	for _, d := range []string{"d/e/f", "sp ace", "new\nline", "gone (deleted)", long, "ünï", "sticky"} {
		must(tb, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for _, f := range []string{"file", "d/file", "d/e/f/file", "sp ace/file", "file (deleted)", "new\nline/x\ny", long + "/" + long, "\xff\xfe"} {
		must(tb, os.WriteFile(filepath.Join(dir, f), nil, 0o644))
	}
	must(tb, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	links := map[string]string{
		"to-file": "file", "to-dir": "d", "to-dir-slash": "d/", "to-file-slash": "file/", "abs": root + "/d/e",
		"up": "..", "dangling": "nowhere", "dangling-abs": root + "/d/nowhere", "dangling-deep": "no/where",
		"loop": "loop", "loop-a": "loop-b", "loop-b": "loop-a", "chain": "to-dir/e/../file", "dot": ".",
		"self": "/proc/self", "self-cwd": "/proc/self/cwd/d", "self-root": "/proc/self/root" + root, "self-status": "/proc/self/status",
		"thread": "/proc/thread-self", "fds": "/proc/self/fd", "mounts": "/proc/mounts", "slash": "/", "slashes": "//" + root + "///d",
		"d/back": "../file", "d/e/root": "../../../../../../../../../..",
	}
	for i := range 41 {
		links["n"+itoa(i)] = "n" + itoa(i+1)
	}
	links["n41"] = "file"
	for name, target := range links {
		must(tb, os.Symlink(target, filepath.Join(dir, name)))
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// hostilePaths are relative to a tree of makeTree. Most are tried with a slash and a dot behind, too.
func hostilePaths() []string {
	long := strings.Repeat("n", 255)
	paths := []string{
		"file", "d", "d/file", "./file", ".", "..", "d/..", "d/e/..", "d/e/../../file", "d//e///f", "../x/..", "nothing",
		"nothing/x", "file/x", "file/.", "file/..", "fifo", "fifo/x", "sp ace/file", "file (deleted)", "gone (deleted)",
		"gone", "new\nline/x\ny", long, long + "/" + long, long + "n", long + "n/x", "ünï", "\xff\xfe",
		"to-file", "to-dir", "to-dir/file", "to-dir-slash", "to-dir-slash/file", "to-file-slash", "abs", "abs/f/file", "up",
		"up/..", "dangling", "dangling/x", "dangling-abs", "dangling-deep", "loop", "loop/x", "loop-a", "chain", "dot/dot/./file",
		"self", "self/status", "self/cwd", "self/cwd/file", "self/root", "self/root/etc", "self/../version", "self/../self/stat",
		"self/task", "self/fd/0", "self/exe", "self/exe/x", "self/ns/mnt", "self/nothing", "self/fd/999", "self-cwd", "self-cwd/file",
		"self-root", "self-root/d/file", "self-status", "thread/status", "thread/fd", "thread/../..", "fds", "fds/1", "fds/999",
		"fds/1/x", "mounts", "slash", "slash/etc", "slashes", "slashes/file", "d/back", "d/e/root", "d/e/root/etc", "n1", "n2", "n40", "n0",
		strings.Repeat("./", 2000) + "file", strings.Repeat("d/../", 800) + "file", strings.Repeat("to-dir/../", 45) + "file",
	}
	for _, p := range paths[:len(paths)-3] {
		paths = append(paths, p+"/", p+"/.", p+"//")
	}
	return paths
}

// procPaths are absolute and mean another file for each process.
func procPaths(pid, tid int) []string {
	return []string{
		"/proc/self", "/proc/self/", "/proc//self//status", "/proc/self/../self/status", "/proc/thread-self/status", "/proc/thread-self",
		"/proc/./self/task/" + itoa(tid) + "/comm", "/proc/self/task/" + itoa(tid) + "/../../status", "/proc/" + itoa(pid) + "/status",
		"/proc/self/task/" + itoa(tid) + "/../../../../etc", "/proc/self/task/" + itoa(os.Getpid()) + "/comm", "/proc/" + itoa(os.Getpid()) + "/comm",
		"/proc/self/cwd", "/proc/self/cwd/..", "/proc/self/root/etc/passwd", "/proc/self/exe", "/proc/self/fd/0", "/proc/self/fd/1",
		"/proc/self/fd", "/proc/self/fd/", "/proc/self/fd/0/", "/proc/self/fdinfo/0", "/proc/self/ns/net", "/proc/mounts", "/proc/net/dev", "/proc/net",
		"/proc/self/root/proc/self/status", "/proc/self/root/proc/thread-self/comm", "/proc/self/root/../proc/self/stat",
		"/proc/" + itoa(pid) + "/root/proc/self/maps", "/proc/self/cwd/../../../../../proc/self/stat",
		"/proc", "/proc/", "/proc/version", "/proc/sys/kernel/ostype", "/proc/self/attr/../comm",
		"/dev/fd", "/dev/fd/0", "/dev/fd/1", "/dev/stdin", "/dev/stdout", "/dev/null", "/etc/mtab", "/sys/class", "/", "//", "/..", "/../etc", "/.", "",
	}
}

func TestTableOfHostilePaths(t *testing.T) {
	g := newRig(t)
	dir := filepath.Join(t.TempDir(), "x")
	must(t, os.Mkdir(dir, 0o755))
	makeTree(t, dir, dir)
	before := openFDs(t)
	g.victim.Do(command{Op: "chdir", Path: dir})
	fd := g.victim.Do(command{Op: "open", Dir: unix.AT_FDCWD, Path: dir + "/d", Flags: unix.O_DIRECTORY}).FD
	file := g.victim.Do(command{Op: "open", Dir: unix.AT_FDCWD, Path: dir + "/file"}).FD
	for _, flags := range []Flags{0, NoFollow, NoSymlinks, NoMagicLinks, NoXDev, InRoot, Beneath, Beneath | NoFollow, InRoot | NoMagicLinks} {
		for _, p := range hostilePaths() {
			g.same(lookup{dirfd: unix.AT_FDCWD, path: p, flags: flags})
			g.same(lookup{dirfd: unix.AT_FDCWD, path: dir + "/" + p, flags: flags})
			g.same(lookup{dirfd: fd, path: "../" + p, flags: flags})
		}
		tid := g.victim.Do(command{Op: "tid", Thread: 1}).TID
		for _, p := range procPaths(g.victim.PID, tid) {
			g.same(lookup{thread: 1, dirfd: unix.AT_FDCWD, path: p, flags: flags})
		}
		for _, dirfd := range []int{file, 999, -1, -7} {
			g.same(lookup{dirfd: dirfd, path: "file", flags: flags})
			g.same(lookup{dirfd: dirfd, path: ".", flags: flags})
			g.same(lookup{dirfd: dirfd, path: dir, flags: flags})
		}
	}
	if after := openFDs(t); after > before+2 { // the records' own
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

func TestThreadsWithTheirOwnDirectory(t *testing.T) {
	g := newRig(t)
	a, b := t.TempDir(), t.TempDir()
	g.victim.Do(command{Op: "chdir", Path: a})
	g.victim.Do(command{Op: "unshare-fs", Thread: 1})
	g.victim.Do(command{Op: "chdir", Path: b, Thread: 1})
	for thread := range 2 {
		g.same(lookup{thread: thread, dirfd: unix.AT_FDCWD, path: "."})
		g.same(lookup{thread: thread, dirfd: unix.AT_FDCWD, path: "/proc/self/cwd"})
		g.same(lookup{thread: thread, dirfd: unix.AT_FDCWD, path: "/proc/thread-self/cwd"})
	}
}

func TestChroot(t *testing.T) {
	processtest.NeedsRoot(t)
	outside := t.TempDir()
	root := filepath.Join(outside, "jail")
	must(t, os.Mkdir(root, 0o755))
	makeTree(t, root, "")
	must(t, os.Mkdir(filepath.Join(root, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), nil, 0o644))
	for _, cwd := range []string{"/", "/d/e", "outside"} {
		t.Run(cwd, func(t *testing.T) {
			g := newRig(t)
			p := g.process(g.victim.PID)
			if _, err := p.SameRoot(g.victim.PID); err != nil { // known before
				t.Fatal(err)
			}
			p.MarkRoot()
			g.victim.Do(command{Op: "chdir", Path: outside})
			if cwd == "outside" { // the classic way out
				g.victim.Do(command{Op: "chroot", Path: root})
			} else {
				g.victim.Do(command{Op: "chroot", Path: root})
				g.victim.Do(command{Op: "chdir", Path: cwd})
			}
			for _, flags := range []Flags{0, NoFollow, NoXDev} {
				for _, path := range append(hostilePaths(), "etc/passwd", "../etc/passwd", "../../../../../../etc/passwd", "jail/file") {
					g.same(lookup{dirfd: unix.AT_FDCWD, path: path, flags: flags})
					g.same(lookup{dirfd: unix.AT_FDCWD, path: "/" + path, flags: flags})
					g.same(lookup{dirfd: unix.AT_FDCWD, path: "/../" + path, flags: flags})
				}
			}
		})
	}
}

func TestFilesWithoutAName(t *testing.T) {
	g := newRig(t)
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/gone", nil, 0o600))
	must(t, os.WriteFile(dir+"/kept (deleted)", nil, 0o600))
	must(t, os.Mkdir(dir+"/gone-dir", 0o700))
	v := g.victim
	gone := v.Do(command{Op: "open", Dir: unix.AT_FDCWD, Path: dir + "/gone"})
	kept := v.Do(command{Op: "open", Dir: unix.AT_FDCWD, Path: dir + "/kept (deleted)"})
	v.Do(command{Op: "chdir", Path: dir + "/gone-dir"})
	must(t, os.Remove(dir+"/gone"))
	must(t, os.Remove(dir+"/gone-dir"))
	pipe, socket, memfd := v.Do(command{Op: "pipe"}), v.Do(command{Op: "socket"}), v.Do(command{Op: "memfd", Path: "evil"})
	for _, tt := range []struct {
		dirfd   int
		path    string
		flags   Flags
		want    string
		deleted bool
	}{
		{gone.FD, "", EmptyPath, dir + "/gone", true},
		{unix.AT_FDCWD, "/proc/self/fd/" + itoa(gone.FD), 0, dir + "/gone", true},
		{kept.FD, "", EmptyPath, dir + "/kept (deleted)", false},
		{unix.AT_FDCWD, "", EmptyPath, dir + "/gone-dir", true},
		{unix.AT_FDCWD, ".", 0, dir + "/gone-dir", true},
		{unix.AT_FDCWD, "x", 0, dir + "/gone-dir/x", true},
		{pipe.FD, "", EmptyPath, fmt.Sprintf("pipe:[%d]", pipe.Ino), false},
		{unix.AT_FDCWD, "/dev/fd/" + itoa(pipe.FD), 0, fmt.Sprintf("pipe:[%d]", pipe.Ino), false},
		{unix.AT_FDCWD, "/proc/self/fd/" + itoa(socket.FD), 0, fmt.Sprintf("socket:[%d]", socket.Ino), false},
		{memfd.FD, "", EmptyPath, "memfd:evil", true},
		{unix.AT_FDCWD, "/proc/thread-self/fd/" + itoa(memfd.FD), 0, "memfd:evil", true},
	} {
		for how, r := range g.resolvers {
			res, err := r.Resolve(g.process(v.PID), v.PID, tt.dirfd, tt.path, tt.flags)
			if err != nil || res.Path != tt.want || res.Deleted != tt.deleted {
				t.Errorf("%s: %d %q: %+v, %v; want %q, deleted %v", how, tt.dirfd, tt.path, res, err, tt.want, tt.deleted)
			}
			res.Close()
		}
	}
}

// What Resolve says of a missing file must be the name that the kernel then creates.
func TestCreation(t *testing.T) {
	g := newRig(t)
	dir := t.TempDir()
	makeTree(t, dir, dir)
	g.victim.Do(command{Op: "chdir", Path: dir})
	for _, path := range []string{
		"new", "./new", "d/../new", "to-dir/new", "dangling", "dangling-abs", "d/e/../../dangling", dir + "/new", "abs/new",
		"self-cwd/new", "/proc/self/cwd/new", "/proc/thread-self/root" + dir + "/new", "new (deleted)", "up/" + filepath.Base(dir) + "/new",
	} {
		var results []Result
		for how, r := range g.resolvers {
			res, err := r.Resolve(g.process(g.victim.PID), g.victim.PID, unix.AT_FDCWD, path, 0)
			if err != nil || res.Exists || res.FD >= 0 || res.ParentFD < 0 || res.Path != res.Parent+"/"+res.Base {
				t.Fatalf("%s: %q: %+v, %v", how, path, res, err)
			}
			results = append(results, res)
		}
		kernel := g.victim.Do(command{Op: "open", Dir: unix.AT_FDCWD, Path: path, Flags: unix.O_CREAT | unix.O_WRONLY})
		name := g.nameOf(kernel)
		for _, res := range results {
			var st unix.Stat_t
			if err := unix.Fstatat(res.ParentFD, res.Base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Ino != kernel.Ino || res.Path != name {
				t.Errorf("%q: %+v, %v; the kernel made %q", path, res, err, name)
			}
			res.Close()
		}
		must(t, os.Remove(name))
		g.victim.Do(command{Op: "close", Dir: kernel.FD})
	}
	g.same(lookup{dirfd: unix.AT_FDCWD, path: "dangling", flags: NoFollow}) // O_EXCL: the link itself is in the way
}

func TestLimits(t *testing.T) {
	g := newRig(t)
	pid := g.victim.PID
	for _, tt := range []struct {
		path string
		err  error
	}{
		{"/" + strings.Repeat("a", pathMax), unix.ENAMETOOLONG},
		{strings.Repeat("/", pathMax-1), nil},
		{strings.Repeat("/", pathMax), unix.ENAMETOOLONG},
		{"/etc\x00/passwd", unix.EINVAL},
		{"", unix.ENOENT},
	} {
		for how, r := range g.resolvers {
			res, err := r.Resolve(g.process(pid), pid, unix.AT_FDCWD, tt.path, 0)
			if !errors.Is(err, tt.err) {
				t.Errorf("%s: %d bytes: %v, want %v", how, len(tt.path), err, tt.err)
			}
			res.Close()
		}
	}
}

// Relative paths reach files whose absolute paths are too long for the kernel to tell.
func TestDeepDirectories(t *testing.T) {
	g := newRig(t)
	top := t.TempDir()
	t.Chdir(top) // which is removed from above, step by step
	name := strings.Repeat("d", 250)
	known := top
	for range 20 {
		must(t, unix.Mkdir(name, 0o700))
		must(t, unix.Chdir(name))
		if len(known)+len(name)+1 < unix.PathMax {
			known += "/" + name
		}
	}
	must(t, os.WriteFile("file", nil, 0o600))
	must(t, os.Symlink("file", "link"))
	self := os.Getpid() // as good a process as any
	for how, r := range g.resolvers {
		for path, want := range map[string]string{
			".": known + "/…", "file": known + "/…/file", "new": known + "/…/new", "./file": known + "/…/file",
		} {
			res, err := r.Resolve(g.process(self), self, unix.AT_FDCWD, path, 0)
			if err != nil || res.Path != want {
				t.Errorf("%s: %s: %.60s… (%d bytes), %v", how, path, res.Path, len(res.Path), err)
			}
			res.Close()
		}
		// What a link leads to could be anywhere.
		if res, err := r.Resolve(g.process(self), self, unix.AT_FDCWD, "link", 0); err == nil && res.Path != known+"/…/file" || err != nil && !errors.Is(err, ErrNoName) {
			t.Errorf("%s: link: %.60s, %v", how, res.Path, err)
		} else {
			res.Close()
		}
	}
}

// generate makes a tree of random directories and links, and paths through it.
func generate(tb testing.TB, rnd *rand.Rand, dir string) []string {
	tb.Helper()
	names := []string{"a", "b", "c", "d", ".", "..", "self"}
	path := func(depth int) string {
		p := ""
		for range 1 + rnd.IntN(depth) {
			p += names[rnd.IntN(len(names))] + strings.Repeat("/", 1+rnd.IntN(2)*rnd.IntN(2))
		}
		if rnd.IntN(3) > 0 {
			p = strings.TrimRight(p, "/")
		}
		return p
	}
	prefix := func() string { return []string{"", "", "", dir + "/", "/proc/self/cwd/", "/proc/self/"}[rnd.IntN(6)] }
	root, err := os.OpenRoot(dir) // the links that are there already lead anywhere
	must(tb, err)
	defer root.Close()
	for range 40 {
		at := strings.TrimPrefix(filepath.Clean("/"+path(4)), "/") // errors are part of the chaos
		switch rnd.IntN(4) {
		case 0:
			_ = root.WriteFile(at, nil, 0o600)
		case 1:
			_ = root.MkdirAll(at, 0o700)
		default:
			_ = root.Symlink(prefix()+path(3), at)
		}
	}
	out := make([]string, 150)
	for i := range out {
		out[i] = prefix() + path(6)
	}
	return out
}

func TestGeneratedTrees(t *testing.T) {
	for seed := range uint64(12) {
		g := newRig(t)
		rnd := rand.New(rand.NewPCG(seed, 7))
		dir := t.TempDir()
		paths := generate(t, rnd, dir)
		jail := seed%3 == 2 && os.Getuid() == 0
		g.victim.Do(command{Op: "chdir", Path: dir})
		if jail {
			g.process(g.victim.PID).MarkRoot()
			g.victim.Do(command{Op: "chroot", Path: dir})
		}
		all := []Flags{0, NoFollow, InRoot, Beneath, NoSymlinks, NoXDev}
		for _, p := range paths {
			g.same(lookup{dirfd: unix.AT_FDCWD, path: p, flags: all[rnd.IntN(len(all))]})
		}
		if t.Failed() {
			t.Fatalf("seed %d (jail %v)", seed, jail)
		}
	}
}

// A tree that changes while it is resolved must not make the Resolver fail in other ways than the kernel does, nor
// leak descriptors.
func TestChangingTree(t *testing.T) {
	g := newRig(t)
	dir := t.TempDir()
	makeTree(t, dir, dir)
	must(t, os.Symlink("/proc/self/cwd/d", dir+"/swap"))
	g.victim.Do(command{Op: "chdir", Path: dir})
	p := g.process(g.victim.PID)
	before := openFDs(t)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir+"/swap", unix.AT_FDCWD, dir+"/d", unix.RENAME_EXCHANGE)
			}
		}
	}()
	for i := range 2000 {
		for _, r := range g.resolvers {
			path := []string{"swap/file", "d/e/../file", "swap/e/f", "d/../swap/nothing"}[i%4]
			res, err := r.Resolve(p, g.victim.PID, unix.AT_FDCWD, path, []Flags{0, InRoot}[i%2])
			if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.EXDEV) {
				t.Errorf("%q: %v", path, err)
			}
			res.Close()
		}
	}
	close(stop)
	<-done
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

func TestDeadProcess(t *testing.T) {
	g := newRig(t)
	pid := g.victim.PID
	p := g.process(pid)
	g.victim.Stop()
	for how, r := range g.resolvers {
		for _, path := range []string{"relative", "/proc/self/status"} {
			if res, err := r.Resolve(p, pid, unix.AT_FDCWD, path, 0); err == nil && res.Exists {
				t.Errorf("%s: %q: %+v", how, path, res)
			}
		}
	}
}

func TestRecall(t *testing.T) {
	g := newRig(t)
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		must(t, os.WriteFile(dir+"/"+name, nil, 0o640))
	}
	must(t, os.Symlink("a", dir+"/link"))
	r, p := g.resolvers["openat2"], g.process(g.victim.PID)
	recall := func(path string, flags Flags) string {
		res, ok := r.Recall(p, g.victim.PID, path, flags)
		if !ok {
			return ""
		}
		if res.FD != -1 || !res.Exists || res.Mode != unix.S_IFREG|0o640 || res.OwnerUID != os.Geteuid() {
			t.Errorf("%s: %+v", path, res)
		}
		return res.Path
	}
	learn := func(path string, flags Flags) {
		res, err := r.Resolve(p, g.victim.PID, unix.AT_FDCWD, path, flags|Remember)
		must(t, err)
		res.Close()
	}
	expect := func(when, path string, flags Flags, want string) {
		t.Helper()
		if got := recall(path, flags); got != want {
			t.Errorf("%s: %s leads to %q, want %q", when, path, got, want)
		}
	}
	expect("before", dir+"/link", 0, "")
	learn(dir+"/link", Existing)
	expect("asked otherwise", dir+"/link", 0, "")
	if res, err := r.Resolve(p, g.victim.PID, unix.AT_FDCWD, dir+"/b", Existing); err != nil {
		t.Error(err)
	} else {
		res.Close()
	}
	expect("not to be remembered", dir+"/b", Existing, "")
	expect("learned", dir+"/link", Existing, dir+"/a")
	must(t, os.Remove(dir+"/link"))
	expect("gone", dir+"/link", Existing, "")
	must(t, os.Symlink("b", dir+"/link"))
	expect("another file", dir+"/link", Existing, "")
	learn(dir+"/link", Existing)
	expect("learned again", dir+"/link", Existing, dir+"/b")
	learn("/proc/self/status", Existing)
	expect("of the tracer itself", "/proc/self/status", Existing, "")
	for i := range 2 * maxNames {
		learn(dir+strings.Repeat("/", 1+i/50)+strings.Repeat("./", i%50)+"a", Existing)
	}
	if n := len(r.names.seen); n > maxNames {
		t.Errorf("%d paths are remembered", n)
	}
}
