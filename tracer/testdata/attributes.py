"""Changes times and extended attributes of files, in every way that a caller can see a difference in; prints what happens and
what is left. It works in the directory that it is started in."""
import contextlib
import ctypes
import os
import struct
import sys

from calls import ARM, number, say, syscall

CWD, NOFOLLOW, EMPTY = -100, 0x100, 0x1000
NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2
NAMES = ("f", "missing", "d", "to-f", "dangling", "loop", "fifo", "shut/f", "other", "", "f/x", "x" * 256, "d/../f")


def text(s):
    return None if s is None else ctypes.create_string_buffer(os.fsencode(s))


def longs(*values):
    return ctypes.create_string_buffer(struct.pack("q" * len(values), *values))


def left(name):
    st = os.lstat(name)
    print("  ", name, st.st_atime_ns if st.st_atime_ns < 10**18 else "now", st.st_mtime_ns if st.st_mtime_ns < 10**18 else "now",
          {a: os.getxattr(name, a, follow_symlinks=False)[:8] for a in os.listxattr(name, follow_symlinks=False)})


def times(descriptors):
    utimensat = number(280, 88)
    for n in NAMES:
        for flags in (0, NOFOLLOW, 1):
            say(f"utimensat {n[:9]} {flags}", syscall, utimensat, CWD, text(n), longs(5, 7, 6, 8), flags)
        say(f"now {n[:9]}", syscall, utimensat, CWD, text(n), None, 0)
        if not ARM:
            say(f"utime {n[:9]}", syscall, 132, text(n), longs(11, 12)), say(f"utimes {n[:9]}", syscall, 235, text(n), longs(13, 14, 15, 16))
            say(f"futimesat {n[:9]}", syscall, 261, CWD, text(n), longs(17, 999999, 19, 20)), say(f"utime now {n[:9]}", syscall, 132, text(n), None)
    for name in ("f", "d", "to-f", "other"):
        left(name)
    say("omit", syscall, utimensat, CWD, text("f"), longs(1, OMIT, 2, NOW), 0), left("f")
    say("wrong", syscall, utimensat, CWD, text("f"), longs(1, 1 << 31, 2, 3), 0)
    say("fault", syscall, utimensat, CWD, text("f"), 8, 0), say("no path", syscall, utimensat, CWD, None, None, 0)
    if not ARM:
        say("wrong", syscall, 235, text("f"), longs(1, 1000000, 1, 1)), say("fault", syscall, 132, text("f"), 8)
    for label, fd in descriptors.items():
        say(f"utimensat by {label}", syscall, utimensat, fd, None, longs(21, 0, 22, 0), 0)
        say(f"empty by {label}", syscall, utimensat, fd, text(""), longs(23, 0, 24, 0), EMPTY)
        say(f"in {label}", syscall, utimensat, fd, text("f"), longs(25, 0, 26, 0), 0)
        say(f"flags by {label}", syscall, utimensat, fd, None, longs(25, 0, 26, 0), NOFOLLOW)


def attributes(descriptors):
    for n in NAMES:
        for what, set_, remove in (("", number(188, 5), number(197, 14)), ("l", number(189, 6), number(198, 15))):
            for a in ("user.a", "user.b", "trusted.c", "security.d", "wrong", "", "user." + "n" * 250, "user." + "n" * 251):
                say(f"{what}setxattr {n[:9]} {a[:9]}", syscall, set_, text(n), text(a), b"value", 5, 0)
            say(f"{what} created {n[:9]}", syscall, set_, text(n), text("user.a"), b"other", 5, 1)
            say(f"{what} replaced {n[:9]}", syscall, set_, text(n), text("user.e"), b"other", 5, 2)
            say(f"{what} flags {n[:9]}", syscall, set_, text(n), text("user.a"), b"other", 5, 8)
            say(f"{what}removexattr {n[:9]}", syscall, remove, text(n), text("user.b")), say(f"{what}removexattr {n[:9]}", syscall, remove, text(n), text("user.none"))
    for size in (0, 1, 65536, 65537):
        say(f"size {size}", lambda: min(syscall(number(188, 5), text("f"), text("user.size"), ctypes.create_string_buffer(size + 1), size, 0), 0) or "set or not")
    say("fault", syscall, number(188, 5), text("f"), 8, b"x", 1, 0), say("fault", syscall, number(188, 5), text("f"), text("user.a"), 8, 1, 0)
    say("nothing", syscall, number(188, 5), text("f"), text("user.empty"), None, 0, 0)
    with contextlib.suppress(OSError):
        os.removexattr("f", "user.size")
    for label, fd in descriptors.items():
        say(f"fsetxattr by {label}", syscall, number(190, 7), fd, text("user.fd"), b"value", 5, 0)
        say(f"fremovexattr by {label}", syscall, number(199, 16), fd, text("user.fd"))
    for name in ("f", "d", "to-f", "other"):
        left(name)


def main():
    for f in ("f", "d/f", "other"):
        os.makedirs(os.path.dirname(f) or ".", exist_ok=True)
        open(f, "w").close()
    os.mkdir("shut"), open("shut/f", "w").close(), os.chmod("shut", 0o500), os.chmod("other", 0o644)
    os.symlink("f", "to-f"), os.symlink("nowhere", "dangling"), os.symlink("loop", "loop"), os.mkfifo("fifo")
    descriptors = {"directory": os.open("d", os.O_RDONLY), "file": os.open("f", os.O_RDONLY), "path": os.open("f", os.O_PATH), "none": 999}
    for section in (times, attributes):
        section(descriptors)
    if os.getuid():
        return
    for f in ("f", "d", "d/f", "shut/f"):
        os.chown(f, 1000, 1000)
    sys.stdout.flush()
    if os.fork() == 0:
        os.setgroups([]), os.setresgid(1000, 1000, 1000), os.setresuid(1000, 1000, 1000)
        print("#### as user 1000")
        for section in (times, attributes):
            section({} if "unreadable" in sys.argv else descriptors)
        sys.stdout.flush()
        os._exit(0)
    os.wait()


main()
