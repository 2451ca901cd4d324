"""Changes files without opening them, in every way that a caller can see a difference in; prints what happens and what is
left. It works in the directory that it is started in."""
import contextlib, ctypes, errno, io, os, platform, resource, signal, stat, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NR = {
    "x86_64": dict(renameat2=316, linkat=265, fchmodat=268, fchmodat2=452, fchownat=260, unlinkat=263, mkdirat=258, mknodat=259, symlinkat=266, truncate=76, fchmod=91, fchown=93,
                   rename=82, renameat=264, link=86, symlink=88, unlink=87, rmdir=84, mkdir=83, mknod=133, chmod=90, chown=92, lchown=94),
    "aarch64": dict(renameat2=276, linkat=37, fchmodat=53, fchmodat2=452, fchownat=54, unlinkat=35, mkdirat=34, mknodat=33, symlinkat=36, truncate=45, fchmod=52, fchown=55, renameat=38),
}[platform.machine()]
CWD, NOFOLLOW, FOLLOW, EMPTY, REMOVEDIR = -100, 0x100, 0x400, 0x1000, 0x200


changed = True  # something, since fresh


def call(name, *args):
    global changed
    if name not in NR:
        return
    raw = [ctypes.c_long(a) if isinstance(a, int) else a if a is None else ctypes.c_char_p(os.fsencode(a)) for a in args]
    ctypes.set_errno(0)
    r = libc.syscall(ctypes.c_long(NR[name]), *raw)
    shown = [a if not isinstance(a, str) else a if len(a) < 60 else a[:10] + "…%d" % len(a) for a in args]
    changed = changed or r >= 0
    print(name, *shown, "->", errno.errorcode[ctypes.get_errno()] if r < 0 else r)


def tree(label):
    if not changed:
        return
    print("==", label)
    for d, dirs, files in os.walk("."):
        dirs.sort()
        for n in sorted(dirs + files):
            p = os.path.join(d, n)
            st = os.lstat(p)
            print(p[:60], stat.filemode(st.st_mode), st.st_uid, st.st_gid, st.st_nlink, st.st_size if stat.S_ISREG(st.st_mode) else "",
                  os.readlink(p)[:60] if stat.S_ISLNK(st.st_mode) else "", st.st_rdev if stat.S_ISCHR(st.st_mode) else "")


def clear(at="."):
    for e in list(os.scandir(at)):
        if e.is_dir(follow_symlinks=False):
            try:
                os.chmod(e.path, 0o700)
                clear(e.path)
                os.rmdir(e.path)
            except OSError:
                pass  # another user's
        else:
            try:
                os.unlink(e.path)
            except OSError:
                pass


def fresh():
    global changed
    if not changed:
        return
    changed = False
    clear()
    old = os.umask(0)
    for d in ("d", "d/sub", "empty", "full", "closed", "sticky"):
        os.mkdir(d, 0o755)
    for f in ("f", "g", "d/f", "full/f", "closed/f", "sticky/f"):
        with open(f, "w") as h:
            h.write("content")
        os.chmod(f, 0o644)
    os.symlink("f", "to-f"), os.symlink("d", "to-d"), os.symlink("nowhere", "dangling"), os.symlink("loop", "loop")
    os.mkfifo("fifo")
    os.chmod("closed", 0o500)
    os.chmod("sticky", 0o1777)
    os.umask(old)


NAMES = ("f", "missing", "d", "empty", "full", "to-f", "to-d", "dangling", "loop", "fifo", "closed/f", "closed/new", "f/x", "f/", "d/", "empty/", "to-d/", "to-f/", "missing/", "missing/x",
         ".", "..", "./.", "d/..", "/", "//", "", "d//f", "d/./f", "d/sub/../f", "x" * 255, "x" * 256, "/proc/self/status", "/proc/self", "d/" * 2100 + "f", "to-d/f", "loop/x")


def one_name():
    for n in NAMES:
        for name, args in (("unlink", ()), ("rmdir", ()), ("mkdir", (0o7777,)), ("mknod", (stat.S_IFREG | 0o666, 0)), ("chmod", (0o2710,)), ("chown", (-1, -1)), ("lchown", (os.getuid(), os.getgid())), ("truncate", (3,))):
            if n.startswith("/proc") and name in ("chmod", "truncate", "chown", "lchown"):
                continue
            if n in ("/", "//", "..", "d/..") and name in ("chmod", "chown", "lchown"):
                continue
            fresh()
            call(name, n, *args)
            if not n.startswith("/"):
                tree("after")
    for n in NAMES:
        fresh()
        call("symlink", "some/where", n)
        call("link", "f", n)
        call("link", n, "new")
        call("rename", "g", n)
        tree("after")
        fresh()
        call("rename", n, "new")
        call("rename", "d", n)
        call("rename", "to-f", n)
        tree("after")


def at():
    fresh()
    d = os.open("d", os.O_RDONLY)
    p = os.open("d", os.O_PATH)
    f = os.open("f", os.O_RDONLY)
    fp = os.open("f", os.O_PATH)
    for fd in (CWD, d, p, f, 999, -1):
        call("unlinkat", fd, "f2", 0), call("unlinkat", fd, "sub", REMOVEDIR), call("unlinkat", fd, "f", 1), call("unlinkat", fd, "sub", 0)
        call("mkdirat", fd, "made", 0o751), call("mknodat", fd, "node", stat.S_IFIFO | 0o640, 0), call("symlinkat", "t", fd, "sym")
        call("linkat", fd, "f", CWD, "linked%d" % fd, 0), call("linkat", CWD, "to-f", fd, "followed", FOLLOW), call("linkat", CWD, "to-f", fd, "kept", 0)
        call("linkat", fd, "", CWD, "emptied%d" % fd, EMPTY), call("linkat", fd, "f", CWD, "x", 1)
        call("renameat", fd, "made", fd, "made2"), call("renameat2", fd, "f", fd, "made2", 1), call("renameat2", fd, "f", fd, "made2", 2), call("renameat2", fd, "f", fd, "made2", 3), call("renameat2", fd, "f", fd, "q", 1 << 9)
        call("fchmodat", fd, "f", 0o604), call("fchmodat", fd, "sym", 0o600)
        call("fchmodat2", fd, "f", 0o614, 0), call("fchmodat2", fd, "sym", 0o614, NOFOLLOW), call("fchmodat2", fd, "", 0o750, EMPTY), call("fchmodat2", fd, "f", 0o600, 1)
        call("fchownat", fd, "f", os.getuid(), -1, 0), call("fchownat", fd, "sym", os.getuid(), -1, NOFOLLOW), call("fchownat", fd, "", -1, -1, EMPTY), call("fchownat", fd, "f", -1, -1, 1)
        tree("at %d" % fd)
    for fd in (d, p, f, fp, 999, -1):
        call("fchmod", fd, 0o741), call("fchown", fd, -1, os.getgid())
    call("unlink", None), call("rename", "f", None), call("rename", None, "f"), call("symlink", None, "s"), call("chmod", None, 0)
    os.fchdir(d)
    call("rename", "sub", "../moved"), call("mkdir", "../up", 0o700), call("unlink", "f")
    os.chdir("..")
    tmp = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    call("linkat", CWD, "/proc/self/fd/%d" % tmp, CWD, "from-tmpfile", FOLLOW)
    call("linkat", CWD, "/proc/self/fd/%d" % tmp, CWD, "from-tmpfile2", 0)
    call("unlink", "/proc/self/cwd/from-tmpfile")
    tree("end")


def modes():
    for umask in (0, 0o27, 0o777):
        fresh()
        os.umask(umask)
        call("mkdir", "m1", 0o7777), call("mknod", "m2", stat.S_IFREG | 0o6777, 0), call("mknod", "m3", stat.S_IFIFO | 0o666, 0), call("mknod", "m4", stat.S_IFSOCK | 0o666, 0)
        call("mknod", "m5", stat.S_IFCHR | 0o666, os.makedev(1, 3)), call("mknod", "m6", stat.S_IFDIR | 0o666, 0), call("mknod", "m7", 0o666, 0), call("mknod", "m8", 0o160000, 0)
        tree("umask %o" % umask)
        os.umask(0o22)
    fresh()
    os.chmod("d", 0o2755)
    call("mkdir", "d/inherits", 0o755), call("mknod", "d/file", 0o644, 0)
    call("chmod", "f", 0o6755), call("chown", "f", -1, os.getgid()), call("truncate", "f", 2), call("chmod", "fifo", 0o600), call("truncate", "fifo", 0), call("truncate", "d", 0), call("truncate", "f", -1), call("truncate", "f", 1 << 62)
    call("chown", "f", 4242, 4242), call("chmod", "closed/f", 0o600), call("chown", "to-f", -1, -1), call("lchown", "dangling", -1, -1), call("chown", "dangling", -1, -1)
    tree("modes")


def limits():
    fresh()
    sys.stdout.flush()
    signal.signal(signal.SIGXFSZ, lambda *a: print("SIGXFSZ"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # the limit is one of the output as well
        resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
        call("truncate", "f", 6), call("truncate", "f", 5), call("truncate", "f", 100)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(said.getvalue())
    tree("limits")


def everything(sections=(one_name, at, modes, limits)):
    global changed
    for section in sections:
        changed = True
        print("##", section.__name__)
        section()
    clear()


everything()
if os.getuid() == 0:
    sys.stdout.flush()
    os.chmod(".", 0o777)
    if os.fork() == 0:
        os.setgroups([12345])
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        print("#### as user 1000")
        # Of a process that has changed its user a tracer without CAP_SYS_PTRACE does not know all descriptors.
        everything((one_name, modes, limits) if "unreadable" in sys.argv else (one_name, at, modes, limits))
        sys.stdout.flush()
        os._exit(0)
    os.wait()
