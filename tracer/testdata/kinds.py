"""What a caller can see of an open besides its result: the arguments as the kernel takes them, who else is told, what the
descriptor is good for, and calls of every kind of process. Usage: kinds.py SECTION…"""
import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

from calls import child, contents, libc, name_of, number, opened, put, say, syscall

OPENAT, EXECVE = number(257, 56), number(59, 221)
R, W, RW, C, X, T, TMP = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_TMPFILE
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def raw_open(path, flags, mode=0, dirfd=-100):
    fd = syscall(OPENAT, dirfd, path, flags, mode)
    st = os.fstat(fd)
    got = f"{fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_LARGEFILE & ~os.O_NOFOLLOW:o} {fcntl.fcntl(fd, fcntl.F_GETFD)} {st.st_mode:o}"
    os.close(fd)
    return got


def arguments():
    """Of int the kernel takes 32 bits, of a mode 16, and of flags those that it knows."""
    put("f")
    os.mkdir("d")
    for label, high in (("", 0), ("upper half", 0xDEADBEEF << 32)):
        say("plain " + label, raw_open, b"f", R | high)
        say("directory " + label, raw_open, b"f", R, 0, 0xFFFFFF9C | high)
        say("mode " + label, raw_open, b"new", C | W | X | high, 0o640 | 1 << 16 | high)
        os.path.exists("new") and os.unlink("new")
    for bit in range(32):
        if 1 << bit in (C, T, X, TMP & ~os.O_DIRECTORY, C | X) or bit < 2:
            continue
        say(f"flag {bit}", raw_open, b"f", RW | 1 << bit)
        say(f"flag {bit} to read", raw_open, b"f", R | 1 << bit)
        say(f"flag {bit} of a directory", raw_open, b"d", R | 1 << bit)
        say(f"flag {bit} to make", raw_open, b"new", C | RW | 1 << bit, 0o600)
        os.path.exists("new") and os.unlink("new")


def strings():
    """Names at the end of memory, in memory that may not be read, and without an end."""
    size = mmap.PAGESIZE
    put("f")

    def pages(n, prot=3):
        return libc.mmap(None, n * size, prot, 0x22, -1, 0)

    def protect(at, prot):
        libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(size), prot)

    at = pages(2)
    protect(at + size, 0)
    ctypes.memmove(at + size - 2, b"f\0", 2)
    say("ends with the page", lambda: os.close(syscall(OPENAT, -100, at + size - 2, 0, 0)))
    ctypes.memmove(at + size - 2, b"ff", 2)
    say("goes on beyond it", lambda: syscall(OPENAT, -100, at + size - 2, 0, 0))
    for prot in (0, 1, 2, 4, 5):
        at = pages(1)
        ctypes.memmove(at, b"f\0", 2)
        protect(at, prot)
        say(f"protection {prot}", lambda: os.close(syscall(OPENAT, -100, at, 0, 0)))
        say(f"protection {prot}, exec", lambda: syscall(EXECVE, at, None, None))
        say(f"protection {prot}, unlink", lambda: syscall(number(263, 35), -100, at, 0) and "" or put("f"))
    at = pages(3)
    ctypes.memset(at, ord("a"), 3 * size)
    say("without an end", lambda: syscall(OPENAT, -100, at, 0, 0))
    ctypes.memset(at, ord("/"), 4094)
    ctypes.memset(at + 4094, 0, 1)
    say("slashes", lambda: os.close(syscall(OPENAT, -100, at, 0, 0)))
    ctypes.memset(at + 4094, ord("/"), 1)
    ctypes.memset(at + 4095, 0, 1)
    say("more slashes", lambda: os.close(syscall(OPENAT, -100, at, 0, 0)))
    ctypes.memset(at + 4095, ord("/"), 1)
    say("too many", lambda: os.close(syscall(OPENAT, -100, at, 0, 0)))
    put("short")
    fd = os.open("short", RW)
    os.ftruncate(fd, size)
    at = libc.mmap(None, 2 * size, 3, 1, fd, 0)
    ctypes.memmove(at + size - 2, b"f\0", 2)
    say("in a file", lambda: os.close(syscall(OPENAT, -100, at + size - 2, 0, 0)))
    say("behind its end", lambda: syscall(OPENAT, -100, at + size, 0, 0))
    for name in ("\t", "\n", "a b", "ä", "\udcff", "a\\b", "*", "-", "'", "\x7f"):
        say(f"named {name!r}", put, name)
        say(f"named {name!r}", contents, name)


def links():
    """As many links as the kernel follows, and one more."""
    put("l0")
    os.mkdir("d")
    put("d/f", "inside")
    for i in range(1, 45):
        os.symlink(f"l{i-1}", f"l{i}")
        os.symlink(f"d{i-1}" if i > 1 else "d", f"d{i}")
    for i in (38, 39, 40, 41, 42):
        say(f"{i} links", contents, f"l{i}")
        say(f"{i} links to make", opened, f"l{i}", W | C)
        say(f"{i} links, path", opened, f"l{i}", os.O_PATH)
        say(f"{i} links to a directory", contents, f"d{i}/f")
        say(f"{i} links and a new file", opened, f"d{i}/new{i}", W | C | X)
        say(f"{i} links and an unnamed file", opened, f"d{i}", TMP | RW)
        say(f"{i} links, unlink", lambda: os.unlink(f"d{i}/new{i}"))
        say(f"{i} links, mkdir", lambda: os.mkdir(f"d{i}/dir{i}"))
        say(f"{i} links, rename", lambda: os.rename(f"d{i}/dir{i}", f"d{i}/ren{i}"))
        say(f"{i} links, chmod", lambda: os.chmod(f"l{i}", 0o600))
        say(f"{i} links, execute", lambda: os.execv(f"l{i}", ["x"]))


WATCHED = {0x1: "access", 0x2: "modify", 0x4: "attrib", 0x8: "closed written", 0x10: "closed", 0x20: "open", 0x40: "from", 0x80: "to", 0x100: "create", 0x200: "delete", 0x400: "deleted", 0x800: "moved"}


def heard(fd):
    out = []
    while select.select([fd], [], [], 0.01)[0]:
        data = os.read(fd, 65536)
        while data:
            _, mask, _, n = struct.unpack("iIII", data[:16])
            out.append((data[16:16 + n].rstrip(b"\0").decode().partition("#")[0] + " " + "+".join(w for b, w in WATCHED.items() if mask & b) + (" (directory)" if mask & 1 << 30 else "")).strip())
            data = data[16 + n:]
    return "; ".join(out)


def watchers():
    """Who watches a directory is told what its users do, and nothing else."""
    os.mkdir("w")
    put("w/f", "text")
    put("w/script", "#!/bin/true\n")
    put("w/interpreter", "#!" + os.getcwd() + "/w/script\n")
    os.mkdir("w/d")
    os.mkfifo("w/p")
    os.symlink("f", "w/l")
    for name in ("script", "interpreter"):
        os.chmod("w/" + name, 0o755)
    fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    libc.inotify_add_watch(fd, b"w", 0xFFF)
    libc.inotify_add_watch(fd, b"w/d", 0xFFF)
    for label, f in {
        "read": lambda: contents("w/f"), "open": lambda: opened("w/f"), "write": lambda: put("w/f"), "append": lambda: opened("w/f", W | os.O_APPEND), "cut": lambda: opened("w/f", W | T), "cut empty": lambda: opened("w/f", W | T),
        "make": lambda: opened("w/new", C | W), "make again": lambda: opened("w/new", C | W), "make alone": lambda: opened("w/new", C | X | W), "make new alone": lambda: opened("w/new2", C | X | W), "unlink": lambda: os.unlink("w/new"), "link": lambda: contents("w/l"),
        "directory": lambda: opened("w/d", os.O_DIRECTORY), "list": lambda: os.listdir("w/d"), "path": lambda: opened("w/f", os.O_PATH), "missing": lambda: opened("w/no"), "by a descriptor": lambda: reopened("w/f"), "unnamed": lambda: opened("w", TMP | RW),
        "pipe": lambda: opened("w/p", RW), "not a directory": lambda: opened("w/f", os.O_DIRECTORY), "mkdir": lambda: os.mkdir("w/m"), "rmdir": lambda: os.rmdir("w/m"), "rename": lambda: os.rename("w/new2", "w/new3"), "hard link": lambda: os.link("w/new3", "w/new4"),
        "chmod": lambda: os.chmod("w/f", 0o600), "utime": lambda: os.utime("w/f"), "truncate": lambda: os.truncate("w/f", 3), "symlink": lambda: os.symlink("x", "w/sl"), "rename over": lambda: os.rename("w/new3", "w/f"),
        "readlink": lambda: os.readlink("w/l"), "stat": lambda: os.stat("w/f").st_size, "mknod": lambda: os.mknod("w/n", 0o600), "setxattr": lambda: os.setxattr("w/f", "user.a", b"b"),
        "execute": lambda: os.spawnv(os.P_WAIT, "w/script", ["x"]), "execute through another": lambda: os.spawnv(os.P_WAIT, "w/interpreter", ["x"]),
        "open in a directory": lambda: opened("w/d/x", C | W), "vfork": lambda: os.waitpid(os.posix_spawn("w/script", ["x"], {}), 0)[1],
    }.items():
        say(label, f)
        print("  ", heard(fd))
    os.close(fd)


def reopened(name):
    fd = os.open(name, os.O_PATH)
    opened(f"/proc/self/fd/{fd}")
    os.close(fd)
    return "opened"


def times():
    """What an open changes of the times of a file, of a link and of a directory."""
    os.mkdir("t")
    put("t/f")
    os.symlink("f", "t/l")
    os.mkdir("t/d")
    put("t/d/f")

    def changed(f):
        for name in ("t", "t/f", "t/l", "t/d", "t/d/f"):
            os.utime(name, ns=(10**18, 10**18), follow_symlinks=False)
        f()
        out = []
        for name in ("t", "t/f", "t/l", "t/d", "t/d/f"):
            st = os.lstat(name)
            out += [name + " " + kind for kind, t in (("read", st.st_atime_ns), ("written", st.st_mtime_ns)) if t != 10**18]
        return ", ".join(out)
    for label, f in {"open": lambda: opened("t/f"), "read": lambda: contents("t/f"), "link": lambda: opened("t/l"), "cut": lambda: opened("t/f", W | T), "cut again": lambda: opened("t/f", W | T), "make": lambda: opened("t/new", C | W), "make again": lambda: opened("t/new", C | W),
                     "missing": lambda: libc.open(b"t/no", 0), "directory": lambda: opened("t/d"), "list": lambda: os.listdir("t/d"), "below": lambda: opened("t/d/f"), "noatime": lambda: os.read(os.open("t/f", os.O_NOATIME), 1), "unlink": lambda: os.unlink("t/new")}.items():
        say(label, changed, f)


def lengthy():
    """Open under limits of the process: on the size of files, on memory, on processor time."""
    import resource
    put("f", "12345678")
    signal.signal(signal.SIGXFSZ, lambda *a: print("SIGXFSZ"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
    say("cut", opened, "f", RW | T)
    fd = os.open("f", RW)
    say("write", os.write, fd, b"12345678")
    say("write more", os.write, fd, b"12345678")
    say("truncate", os.ftruncate, fd, 100)
    say("truncate by name", os.truncate, "f", 100)
    say("truncate within", os.truncate, "f", 2)
    say("size", lambda: os.fstat(fd).st_size)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 4))
    say("make", opened, "new", C | W)


def notices():
    """Descriptors that send signals and tell whose they are."""
    put("f")
    master, slave = os.openpty()
    name = os.ttyname(slave)
    got = []
    signal.signal(signal.SIGIO, lambda *a: got.append("SIGIO"))
    signal.signal(signal.SIGRTMIN, lambda *a: got.append("SIGRTMIN"))
    fd = os.open(name, RW | os.O_NOCTTY | os.O_NONBLOCK)
    say("no owner", fcntl.fcntl, fd, fcntl.F_GETOWN)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    say("owner", lambda: fcntl.fcntl(fd, fcntl.F_GETOWN) == os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    os.write(master, b"x\n")
    wait(got)
    fcntl.fcntl(fd, 10, signal.SIGRTMIN)  # F_SETSIG
    os.write(master, b"y\n")
    wait(got, 2)
    print("pty", *got[:2])
    say("flags", lambda: oct(fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_LARGEFILE))
    got.clear()
    fd = os.open(name, RW | os.O_NOCTTY | os.O_ASYNC | os.O_NONBLOCK)
    say("opened async", lambda: oct(fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_LARGEFILE))
    lease = os.open("f", R)
    say("lease", fcntl.fcntl, lease, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    say("leased", fcntl.fcntl, lease, fcntl.F_GETLEASE)
    pid = os.fork()
    if not pid:
        os._exit(0 if opened("f", W) else 1)
    wait(got)
    print("lease broken", *got)
    say("released", fcntl.fcntl, lease, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    print(os.waitpid(pid, 0)[1])
    got.clear()
    os.mkdir("d")
    fd = os.open("d", R)
    say("notify", fcntl.fcntl, fd, fcntl.F_NOTIFY, fcntl.DN_CREATE)
    put("d/f")
    wait(got)
    print("directory", *got)
    got.clear()
    os.mkfifo("p")
    fd = os.open("p", RW | os.O_NONBLOCK)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.write(fd, b"x")
    wait(got)
    print("pipe", *got[:1])
    say("pipe's size", fcntl.fcntl, fd, 1032)
    say("another size", fcntl.fcntl, fd, 1031, 4096)


def wait(got, n=1):
    for _ in range(2000):
        if len(got) >= n:
            return
        time.sleep(0.005)


def descriptor():
    """What can be done with a descriptor, and what is told of it."""
    put("f", "text" * 2048)
    here = os.getcwd()
    for label, flags in (("r", R), ("w", W), ("rw", RW), ("append", RW | os.O_APPEND), ("sync", RW | os.O_SYNC), ("dsync", RW | os.O_DSYNC), ("cloexec", R | os.O_CLOEXEC), ("nonblock", R | os.O_NONBLOCK), ("noatime", R | os.O_NOATIME), ("path", os.O_PATH), ("3", 3), ("cut later", RW | C), ("unnamed", TMP | RW), ("dir", R | os.O_DIRECTORY), ("direct", R | os.O_DIRECT)):
        name = "." if label in ("unnamed", "dir") else "f"
        try:
            fd = os.open(name, flags, 0o600)
        except OSError as e:
            print(label, name_of(e))
            continue
        info = {l.split(":")[0]: l.split()[1] for l in open(f"/proc/self/fdinfo/{fd}") if ":" in l}
        print(label, fd, info["pos"], f"{int(info['flags'], 8) & ~os.O_NOFOLLOW:o}", info["mnt_id"] == mount_id("."), os.readlink(f"/proc/self/fd/{fd}").replace(here, "HERE").split("#")[0], f"{os.lstat(f'/proc/self/fd/{fd}').st_mode:o}")
        for what, f in {"read": lambda: len(os.read(fd, 10)), "write": lambda: os.write(fd, b"x"), "map shared": lambda: mapped(fd, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE), "map private": lambda: mapped(fd, mmap.MAP_PRIVATE, mmap.PROT_READ), "map to execute": lambda: mapped(fd, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC),
                        "lock": lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), "shared lock": lambda: fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB), "flock": lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), "fchmod": lambda: os.fchmod(fd, 0o755 if name == "." else 0o600), "truncate": lambda: os.ftruncate(fd, 8192),
                        "sync": lambda: os.fsync(fd), "seek": lambda: os.lseek(fd, 1, 1), "stat": lambda: os.fstat(fd).st_nlink, "allocate": lambda: os.posix_fallocate(fd, 0, 4096), "dup": lambda: os.close(os.dup(fd)), "pread": lambda: len(os.pread(fd, 5, 0)), "advise": lambda: os.posix_fadvise(fd, 0, 0, 0), "list": lambda: isinstance(os.listdir(fd), list), "fchdir": lambda: os.fchdir(fd) or os.chdir(here),
                        "send": lambda: sent(fd), "copy": lambda: os.copy_file_range(fd, other(), 10) >= 0, "lease": lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK), "seal": lambda: fcntl.fcntl(fd, 1034), "hint": lambda: fcntl.fcntl(fd, 1035, struct.pack("Q", 0))[0], "attribute": lambda: os.setxattr(fd, "user.x", b"y"), "flags": lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND), "direct": lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_DIRECT), "noatime": lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NOATIME), "execute": lambda: os.execve(fd, ["x"], {})}.items():
            say(f"{label}, {what}", f)
        os.close(fd)


def mount_id(path):
    fd = os.open(path, os.O_PATH)
    try:
        return next(l.split()[1] for l in open(f"/proc/self/fdinfo/{fd}") if l.startswith("mnt_id"))
    finally:
        os.close(fd)


def mapped(fd, flags, prot):
    if os.fstat(fd).st_size < 4096:
        return "too small"
    m = mmap.mmap(fd, 4096, flags, prot)
    if prot & mmap.PROT_WRITE:
        m[0] = 65
        m.flush()
    shown = os.getcwd() + "/f" in open("/proc/self/maps").read()
    m.close()
    return f"shown {shown}"


def sent(fd):
    a, b = socket.socketpair()
    socket.send_fds(a, [b"x"], [fd])
    got = socket.recv_fds(b, 1, 1)[1][0]
    same = os.fstat(got).st_ino == os.fstat(fd).st_ino
    for x in (a, b):
        x.close()
    os.close(got)
    return same


def other():
    if not hasattr(other, "fd"):
        other.fd = os.open("other", RW | C)
    return other.fd


def locks():
    """A lock is its taker's: who asks is told of it, and its end frees it."""
    put("f")
    fd = os.open("f", RW)
    fcntl.lockf(fd, fcntl.LOCK_EX)

    def asks():
        mine = os.open("f", RW)
        lock = fcntl.fcntl(mine, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        print("held by the parent", struct.unpack("hhqqi4x", lock)[4] == os.getppid())
        say("try", fcntl.lockf, mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child(asks)
    say("in /proc/locks", lambda: any(f" {os.getpid()} " in l and f":{os.fstat(fd).st_ino} " in l for l in open("/proc/locks")))
    opened("f")
    print("lost by closing another")
    child(lambda: say("free", fcntl.lockf, os.open("f", RW), fcntl.LOCK_EX | fcntl.LOCK_NB) and 0)


def users():
    """Who has a file open is who has opened it: found in /proc, as fuser does."""
    put("f")
    fd = os.open("f", RW)
    ino = os.fstat(fd).st_ino
    mine = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for n in os.listdir(f"/proc/{pid}/fd"):
                st = os.stat(f"/proc/{pid}/fd/{n}")
                if st.st_ino == ino and st.st_dev == os.fstat(fd).st_dev:
                    mine.append("mine" if int(pid) == os.getpid() else "another's")
        except OSError:
            pass
    print(mine)


def threads():
    """A thread with a working directory and a mask of its own; many threads that open at once."""
    os.mkdir("d")
    put("d/f", "inside")
    os.umask(0o022)

    def other_fs():
        syscall(number(272, 97), 0x200)  # unshare(CLONE_FS)
        os.umask(0o077)
        os.chdir("d")
        put("made")
        print("thread", oct(os.stat("made").st_mode), contents("f"))
    t = threading.Thread(target=other_fs)
    t.start()
    t.join()
    fd = os.open("made too", C | RW, 0o666)
    print("process", oct(os.fstat(fd).st_mode))
    os.close(fd)
    bad = []

    def many(n):
        for i in range(50):
            name = f"t{n}-{i}"
            try:
                put(name, name)
                if contents(name) != name:
                    bad.append(name)
                os.unlink(name)
            except OSError as e:
                bad.append(name_of(e))
    ts = [threading.Thread(target=many, args=(n,)) for n in range(12)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    print("bad", bad, "descriptors", len(os.listdir("/proc/self/fd")))


def lowest():
    """The lowest number that is free, also above others; closed standard descriptors."""
    put("f")
    low = os.open("f", R)
    os.close(low)
    fds = [os.open("f", R) for _ in range(20)]
    print(fds == list(range(low, low + 20)))
    for n in (3, 7, 12):
        os.close(fds[n])
    print([os.open("f", R) - low for _ in range(4)])

    def closed(n):
        os.close(n)
        fd = os.open("f", R)
        os.write(2 if n != 2 else 1, f"closed {n}: got {fd}\n".encode())
    for n in (0, 1, 2):
        child(closed, n)

    def none():
        out = os.dup2(1, 50)
        for n in range(3):
            os.close(n)
        got = [os.open("f", R) for _ in range(3)]
        os.write(out, f"none: {got}\n".encode())
    child(none)


def groups():
    """Of many groups each counts."""
    if os.geteuid():
        print("not root")
        return
    put("f")
    os.chown("f", 0, 99999)
    os.chmod("f", 0o040)
    os.chmod(".", 0o755)

    def of(gids):
        os.setgroups(gids)
        os.setresgid(1000, 1000, 1000)
        os.setresuid(1000, 1000, 1000)
        say(f"{len(gids)} groups", opened, "f")
    for n in (0, 1, 31, 32, 33, 200, 5000, 65535):
        child(of, list(range(100000, 100000 + n)) + [99999])
        child(of, [99999] + list(range(100000, 100000 + n))[:65535])
        child(of, list(range(100000, 100000 + n)))


def killed():
    """Callers that are stopped, continued and killed while they open."""
    put("f")
    for sig in (signal.SIGKILL, signal.SIGTERM):
        for i in range(30):
            pid = os.fork()
            if not pid:
                while True:
                    os.close(os.open("f", RW | C))
                    os.close(os.open("/proc/self/stat", R))
            time.sleep(0.001 * (i % 5))
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, sig)
            status = os.waitpid(pid, 0)[1]
            if os.WTERMSIG(status) != sig:
                print("ended with", status)
    print("done")


def executed():
    """Programs of all forms, and what is none."""
    true = open("/bin/true", "rb").read()
    put("shell", "echo shell\n")
    put("script", "#!/bin/sh\necho \"$0|$*\" | sed s,.*/,,\n")
    put("empty", "")
    put("line", "#!")
    put("blank", "#!  \n")
    put("nowhere", "#!/no/such\n")
    put("directory", "#!/tmp\n")
    put("notexec", f"#!{os.getcwd()}/plain\n")
    put("plain", "text")
    put("itself", f"#!{os.getcwd()}/itself\n")
    put("long", "#!/bin/echo " + "x" * 300 + "\n")
    put("longpath", "#!/" + "./" * 130 + "bin/echo x\n")
    put("args", "#!/bin/echo  one   two \t\n")
    put("nul", "#!/bin/echo\0 x\n")
    put("noend", "#!/bin/echo")
    put("crlf", "#!/bin/sh\r\necho\r\n")
    last = "/bin/echo"
    for i in range(7):
        put(f"chain{i}", f"#!{last} {i}\n")
        last = f"{os.getcwd()}/chain{i}"
    with open("cut", "wb") as f:
        f.write(true[:100])
    with open("whole", "wb") as f:
        f.write(true)
    with open("closed", "wb") as f:
        f.write(true)
    os.mkdir("d")
    os.mkfifo("pipe")
    os.symlink("whole", "link")
    os.symlink("no", "dangling")
    for name in os.listdir("."):
        if not os.path.islink(name) and name not in ("plain", "closed"):
            os.chmod(name, 0o755)
    os.chmod("closed", 0o600)

    def run(path, argv=("x", "a"), env={"A": "b"}):
        sys.stdout.flush()
        os.execve(path, argv, env)
    for name in sorted(os.listdir(".")) + ["no", "whole/", "d/", "script/x", "", ".", "/dev/null", "/proc/self/exe", "x" * 256, "./" * 2048 + "whole"]:
        if name == "/proc/self/exe":
            continue
        print(name[:20], child(run, name))
        print(name[:20], "by a descriptor", child(lambda: run(fd_of(name))))
    busy = os.open("whole", W)
    print("busy", child(run, "whole"))
    print("busy by a link", child(run, "link"))
    os.close(busy)
    print("not busy", child(run, "whole"))
    print("write to what runs")
    say("itself", opened, "/proc/self/exe", W)
    say("itself to read", opened, "/proc/self/exe")
    for label, argv in (("none", []), ("empty", [""]), ("many", ["x"] * 100000), ("large", ["x" * 131071]), ("too large", ["x" * 131072]), ("huge", ["x" * 100000] * 25)):
        def bare():
            a = (ctypes.c_char_p * (len(argv) + 1))(*[s.encode() for s in argv], None)
            syscall(EXECVE, b"/bin/true", a, None)
        print("arguments,", label, child(bare))
    for label, at in (("null", 0), ("bad", 4096), ("kernel", 1 << 63)):
        print("arguments at", label, child(lambda: syscall(EXECVE, b"/bin/true", at, None)), child(lambda: syscall(EXECVE, b"/bin/true", None, at)))
    memory = os.memfd_create("m", 0)
    os.write(memory, true)
    print("memory", child(lambda: run(memory)), child(lambda: run(f"/proc/self/fd/{memory}")))
    fd = os.open("script", os.O_RDONLY | os.O_CLOEXEC)
    print("script by a descriptor that closes", child(lambda: run(fd)), child(lambda: run(f"/proc/self/fd/{fd}")))
    os.set_inheritable(fd, True)
    print("script by a descriptor", child(lambda: run(f"/dev/fd/{fd}")))
    gone = os.open("whole", os.O_PATH)
    os.unlink("whole")
    print("removed", child(lambda: run(f"/proc/self/fd/{gone}")))
    print("secure", child(lambda: os.execv("/bin/sh", ["sh", "-c", "od -An -tu8 -v /proc/self/auxv | awk '$1 == 23 { print $2 }'"])))


def fd_of(name):
    fd = os.open(name, os.O_PATH)
    os.set_inheritable(fd, True)
    return f"/proc/self/fd/{fd}"


def special():
    """Special files, as their openers find them."""
    master, slave = os.openpty()
    say("pts", lambda: os.isatty(os.open(os.ttyname(slave), RW | os.O_NOCTTY)))
    m = os.open("/dev/ptmx", RW | os.O_NOCTTY)
    say("unlock", lambda: fcntl.ioctl(m, 0x40045431, struct.pack("i", 0)) and "done")
    say("peer", lambda: os.isatty(os.open(f"/dev/pts/{struct.unpack('i', fcntl.ioctl(m, 0x80045430, bytes(4)))[0]}", RW | os.O_NOCTTY)))
    say("peer by ioctl", lambda: os.isatty(fcntl.ioctl(m, 0x5441, RW | os.O_NOCTTY)))
    for name in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/kmsg", "/dev/mem", "/dev/console", "/dev/tty0", "/dev/loop-control", "/dev/fuse", "/dev/net/tun", "/dev/shm", "/dev/mqueue", "/dev/pts/ptmx"):
        say(name, opened, name)
        say(name + " nonblock", opened, name, R | os.O_NONBLOCK)
        say(name + " directory", opened, name, R | os.O_DIRECTORY)
    say("full", lambda: os.write(os.open("/dev/full", W), b"x"))
    say("shared memory", put, f"/dev/shm/sidearmor-test-{os.getpid()}")
    os.unlink(f"/dev/shm/sidearmor-test-{os.getpid()}")
    for name in ("self/task", "self/net", "thread-self/fd", "self/map_files", "sys/fs/nr_open", "sys/vm/overcommit_memory", "pressure/cpu", "keys", "timer_list", "sched_debug", "config.gz", "self/ns/pid", "self/ns/user", "self/timers", "self/patch_state", "sysrq-trigger", "self/attr/exec", "self/projid_map", "self/autogroup", "self/cpuset", "acpi", "bus", "fs", "irq", "scsi", "driver"):
        say(name, opened, "/proc/" + name)
    if os.geteuid() == 0 and os.access(".", os.W_OK):
        try:
            os.mknod("node", 0o20666, os.makedev(1, 3))
            say("a device of one's own", opened, "node", RW)
            os.mknod("nonode", 0o20666, os.makedev(240, 99))
            say("a device that is not there", opened, "nonode", RW)
            os.mknod("block", 0o60666, os.makedev(240, 99))
            say("a disk that is not there", opened, "block", RW)
        except OSError as e:
            print("mknod", name_of(e))
    s = socket.socket(socket.AF_UNIX)
    s.bind("socket")
    for flags in (R, W, os.O_PATH, C | RW, RW | os.O_NONBLOCK):
        say(f"socket {flags}", opened, "socket", flags)


sys.stdout.reconfigure(line_buffering=True)
SECTIONS = [arguments, strings, links, watchers, times, lengthy, notices, descriptor, locks, users, threads, lowest, groups, killed, executed, special]
for f in SECTIONS:
    if len(sys.argv) == 1 or f.__name__ in sys.argv:
        print("==", f.__name__)
        os.mkdir(f.__name__)
        os.chmod(f.__name__, 0o755)
        os.chdir(f.__name__)
        print(child(f))
        os.chdir("..")
