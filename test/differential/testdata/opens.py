#!/usr/bin/python3.11
"""Opens files of all kinds in all ways, and says what came of each: the error, or
number, flags and kind of the descriptor. As root also as another user, which a
process becomes without starting another program."""
import ctypes
import errno
import fcntl
import os
import socket
import stat
import sys

libc = ctypes.CDLL(None, use_errno=True)
WHO = ""
FLAGS = ["O_CREAT", "O_EXCL", "O_TRUNC", "O_APPEND", "O_DIRECTORY", "O_NOFOLLOW", "O_PATH", "O_NONBLOCK", "O_NOATIME", "O_TMPFILE"]
MODES = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR, "3": 3}
# Alone, and such pairs as mean something together.
SETS = [()] + [(f,) for f in FLAGS] + [
    ("O_CREAT", "O_EXCL"), ("O_CREAT", "O_TRUNC"), ("O_CREAT", "O_APPEND"), ("O_CREAT", "O_DIRECTORY"), ("O_CREAT", "O_NOFOLLOW"),
    ("O_DIRECTORY", "O_NOFOLLOW"), ("O_PATH", "O_NOFOLLOW"), ("O_PATH", "O_DIRECTORY"), ("O_TMPFILE", "O_EXCL"), ("O_CREAT", "O_EXCL", "O_NOFOLLOW"),
]
RESOLVE = {"NO_XDEV": 1, "NO_MAGICLINKS": 2, "NO_SYMLINKS": 4, "BENEATH": 8, "IN_ROOT": 16}  # CACHED: by chance


def make():
    os.umask(0o027)
    for name in ("d", "d/sub", "closed", "sticky", "noexec"):
        os.mkdir(name)
    for name in ("f", "d/f", "closed/f", "sticky/f", "noexec/f", "shut", "readonly", "program"):
        with open(name, "w") as f:
            f.write("text\n")
    for name, mode in (("closed", 0), ("sticky", 0o1777), ("noexec", 0o666), ("shut", 0), ("readonly", 0o444), ("program", 0o755), ("d", 0o755), ("f", 0o666)):
        os.chmod(name, mode)
    for name, to in (("link", "f"), ("linkdir", "d"), ("dangling", "new-by-link"), ("loop", "loop"), ("outside", "/etc/hostname"), ("up", "../work/f"), ("self", "/proc/self/exe"), ("linkslash", "f/"), ("linknew", "no/such")):
        os.symlink(to, name)
    os.mkfifo("fifo")
    socket.socket(socket.AF_UNIX).bind("socket")


NAMES = [
    "f", "f/", "d", "d/", "d/.", "d/..", "d/f", "d/sub/", ".", "..", "/", "", "new", "new/", "new/.", "no/such", "f/x", "link", "link/", "linkdir", "linkdir/", "linkdir/f",
    "dangling", "dangling/", "loop", "loop/x", "outside", "up", "self", "linkslash", "linknew", "fifo", "fifo/", "socket", "shut", "readonly", "program", "closed", "closed/f", "closed/no",
    "sticky/f", "sticky/new", "noexec", "noexec/f", "noexec/no", "/dev/null", "/dev/full", "/dev/zero", "/dev/tty", "/dev/ptmx", "/dev/stdin", "/dev/stdout", "/dev/fd/0", "/dev/fd/99", "/etc/shadow", "/etc/passwd",
    "/proc/self/status", "/proc/self/cwd", "/proc/self/cwd/f", "/proc/self/root/etc/passwd", "/proc/self/exe", "/proc/self/fd", "/proc/self/fd/0", "/proc/thread-self/comm", "/proc/self/mem", "/proc/self/environ",
    "/proc/1/environ", "/proc/self/ns/net", "/proc/self/task", "/proc/sys/kernel/pid_max", "/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled", "n" * 255, "n" * 256, "d/" * 2046 + "f", "d/../" * 818 + "f", "./" * 2046 + "f", "d/" * 2100,
]


def kind(fd):
    st = os.fstat(fd)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    where = f"{stat.filemode(st.st_mode)} {st.st_uid}:{st.st_gid} {st.st_nlink}"
    if stat.S_ISREG(st.st_mode) and st.st_dev == HERE:
        where += f" {st.st_size} bytes"
    return f"fd {fd} flags {flags & ~os.O_LARGEFILE & ~O_NOFOLLOW:o} cloexec {fcntl.fcntl(fd, fcntl.F_GETFD)} {where}"


# Documented: it is not shown of a file that the tracer has opened.
O_NOFOLLOW = os.O_NOFOLLOW


def say(what, name, fd, error):
    if len(name) > 40:
        name = f"{name[:8]}…({len(name)})"
    came = errno.errorcode.get(error, error) if fd < 0 else kind(fd)
    if fd >= 0:
        os.close(fd)
    print(f"{WHO}{what} {name}: {came}{made()}")


def made():
    """Removes what an open has made, and tells."""
    out = ""
    for name in ("new", "new-by-link", "sticky/new", "closed/no", "noexec/no", "n" * 255):
        try:
            st = os.lstat(name)
            out += f", made {name[:20]} {stat.filemode(st.st_mode)} {st.st_uid}:{st.st_gid} {st.st_size}"
            os.unlink(name)
        except OSError:
            pass
    for name in ("f", "d/f", "sticky/f", "readonly", "program"):
        try:
            if os.stat(name).st_size != 5:
                out += ", emptied " + name
                with open(name, "w") as f:
                    f.write("text\n")
        except OSError as e:
            out += f", {name}: {e}"
    return out


def byopen(name, flags, mode=0o666):
    """What libc's syscall(2) does, without libc's own open."""
    ctypes.set_errno(0)
    fd = libc.syscall(ctypes.c_long(257), ctypes.c_long(-100), ctypes.c_char_p(name.encode()), ctypes.c_long(flags), ctypes.c_long(mode))
    return fd, ctypes.get_errno()


def openat2(dirfd, name, flags, mode, resolve, size=24, extra=b""):
    how = flags.to_bytes(8, "little") + mode.to_bytes(8, "little") + resolve.to_bytes(8, "little") + extra
    ctypes.set_errno(0)
    fd = libc.syscall(ctypes.c_long(437), ctypes.c_long(dirfd), ctypes.c_char_p(name.encode()), ctypes.c_char_p(how), ctypes.c_long(size))
    return fd, ctypes.get_errno()


def blocks(name, mode, flags):
    """Would wait for another process."""
    return name in ("fifo", "fifo/") and mode in ("r", "w") and not flags & (os.O_NONBLOCK | os.O_PATH | os.O_DIRECTORY)


def matrix():
    for name in NAMES:
        for mode, access in MODES.items():
            for flags in SETS:
                bits = access
                for f in flags:
                    bits |= getattr(os, f)
                if blocks(name, mode, bits) or name in ("/dev/ptmx", "/dev/tty") and "O_PATH" not in flags and mode != "r":
                    continue
                if name.startswith(("/etc", "/proc", "/sys", "outside", "self")) and (mode != "r" or "O_TRUNC" in flags):
                    continue  # nothing of the machine's is written
                if name in ("/", "..") and "O_TMPFILE" in flags:
                    continue
                fd, error = byopen(name, bits | (os.O_CLOEXEC if "O_APPEND" in flags else 0) | os.O_NOCTTY)
                say(f"open {mode} {'|'.join(flags)}", name, fd, error)


def others():
    d = os.open("d", os.O_RDONLY)
    p = os.open("d", os.O_PATH)
    f = os.open("f", os.O_RDONLY)
    for what, fd in (("directory", d), ("O_PATH", p), ("file", f), ("closed", 77), ("-1", -1)):
        for name in ("f", "sub", "../f", ".", "", "/etc/passwd", "new"):
            ctypes.set_errno(0)
            got = libc.openat(fd, name.encode(), os.O_RDONLY)
            say(f"openat {what}", name, got, ctypes.get_errno())
    for name in NAMES:
        for what, resolve in RESOLVE.items():
            if blocks(name, "r", 0) or name == "/dev/ptmx":
                continue
            say(f"openat2 {what}", name, *openat2(-100, name, 0, 0, resolve))
            say(f"openat2 {what} directory", name, *openat2(d, name, 0, 0, resolve))
    for what, args in {
        "mode without O_CREAT": (-100, "f", 0, 0o600, 0), "unknown flag": (-100, "f", 1 << 40, 0, 0), "unknown resolve": (-100, "f", 0, 0, 1 << 20),
        "BENEATH and IN_ROOT": (-100, "f", 0, 0, 24), "mode too large": (-100, "new", os.O_CREAT | 1, 1 << 17, 0), "O_PATH": (-100, "f", os.O_PATH, 0, 4),
        "O_PATH and more": (-100, "f", os.O_PATH | os.O_TRUNC, 0, 0), "small": (-100, "f", 0, 0, 0, 16), "empty": (-100, "f", 0, 0, 0, 0), "large": (-100, "f", 0, 0, 0, 32, bytes(8)),
        "large, not zero": (-100, "f", 0, 0, 0, 32, b"\1" * 8), "made": (-100, "new", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o4777, 8),
    }.items():
        say("openat2", what, *openat2(*args))
    for name in ("f", "new", "d", "link", "dangling", "shut", "sticky/new", "no/such", "fifo/"):
        ctypes.set_errno(0)
        say("creat", name, libc.syscall(ctypes.c_long(85), ctypes.c_char_p(name.encode()), ctypes.c_long(0o7777)), ctypes.get_errno())
    for what, address in (("null", None), ("unmapped", 4096), ("kernel", 2**63)):
        ctypes.set_errno(0)
        say("open of pointer", what, libc.syscall(ctypes.c_long(2), ctypes.c_void_p(address), ctypes.c_long(0)), ctypes.get_errno())
    for fd in (d, p, f):
        os.close(fd)


def limits():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("f", os.O_RDONLY)
    os.close(lowest)
    for name in ("f", "new", "no/such", "shut", "d"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        came = byopen(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        say("no descriptor left", name, *came)
    say("umask", "new", *byopen("new", os.O_RDWR | os.O_CREAT, 0o7777))


def main():
    global HERE, WHO
    HERE = os.stat(".").st_dev
    make()
    matrix()
    others()
    limits()
    if os.geteuid() == 0:
        sys.stdout.flush()
        os.setgroups([1, 2])
        os.setresgid(1234, 1234, 0)
        os.setresuid(1234, 1234, 0)
        WHO = "another user: "
        matrix()
        others()
        WHO = "root again: "
        os.seteuid(0)
        os.setegid(0)
        limits()
    for name in ("closed", "noexec"):
        os.chmod(name, 0o755)


main()
