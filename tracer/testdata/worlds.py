"""Opens where there is something about the process, the directory or the name that the kernel goes by: each section prints
what came of them. Usage: worlds.py"""
import ctypes
import fcntl
import os
import resource
import socket
import struct
import sys

from calls import child, contents, libc, name_of, number, opened, put, say, syscall

R, W, RW, C, X, T, TMP = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_TMPFILE
OPENAT2 = 437


def openat2(dirfd, path, flags, mode=0, resolve=0, size=24, extra=b""):
    how = struct.pack("QQQ", flags, mode, resolve) + extra
    os.close(syscall(OPENAT2, dirfd, path.encode(), ctypes.create_string_buffer(how, max(len(how), 1)), size))
    return "opened"


def creat(path, mode=0o666):
    nr = number(85, None)
    os.close(syscall(nr, path.encode(), mode) if nr else os.open(path, C | W | T, mode))
    return "opened"


def no_descriptor_left():
    put("full", "12345678")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = os.open("full", R)
    os.close(low)
    for limit in (low, 1, 0):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        for label, call in (
            ("read", lambda: opened("full")), ("cut", lambda: opened("full", W | T)), ("cut by openat2", lambda: openat2(-100, "full", W | T)), ("cut by creat", lambda: creat("full")),
            ("make", lambda: opened("new", C | W)), ("make alone", lambda: opened("new", C | X | RW)), ("make by openat2", lambda: openat2(-100, "new", C | W, 0o600)), ("make by creat", lambda: creat("new")),
            ("unnamed", lambda: opened(".", TMP | RW)), ("make nowhere", lambda: opened("no/such", C | W)),
        ):
            say(f"limit {limit} of {low}, {label}", call)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        print("size", os.stat("full").st_size, "made", os.path.exists("new"))
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (low + 4, hard))
    try:
        while True:
            held.append(os.open("full", R))
    except OSError as e:
        print("after", len(held), name_of(e))
    os.close(held[1])
    say("the one that is free", lambda: os.open("full", W | T) - held[1])
    print("size", os.stat("full").st_size)


def openat2_checks():
    put("f")
    os.mkdir("d")
    os.symlink("f", "l")
    os.symlink("/etc/hostname", "absolute")
    d = os.open("d", R)
    for label, args in {
        "plain": (-100, "f", R), "unknown flag": (-100, "f", 1 << 40), "unknown low flag": (-100, "f", 1 << 27), "unknown resolve": (-100, "f", R, 0, 1 << 20), "mode": (-100, "f", R, 0o644), "mode bits": (-100, "new", C | W, 0o100644),
        "large mode": (-100, "new", C | W, 1 << 33), "all of a mode": (-100, "new", C | X | W, 0o7777), "size 0": (-100, "f", R, 0, 0, 0), "size 8": (-100, "f", R, 0, 0, 8), "size 23": (-100, "f", R, 0, 0, 23), "longer, zero": (-100, "f", R, 0, 0, 32, bytes(8)),
        "longer, not zero": (-100, "f", R, 0, 0, 32, b"\1" + bytes(7)), "size 5000": (-100, "f", R, 0, 0, 5000, bytes(4976)), "page, not zero": (-100, "f", R, 0, 0, 4096, bytes(4071) + b"\1"), "beneath and in root": (-100, "f", R, 0, 24), "cached create": (-100, "new", C, 0o600, 32), "cached cut": (-100, "f", W | T, 0, 32),
        "cached unnamed": (-100, ".", TMP | RW, 0o600, 32), "cached": (-100, "f", R, 0, 32), "access 3": (-100, "f", 3), "create directory": (-100, "new", C | os.O_DIRECTORY, 0o700), "unnamed to read": (-100, ".", TMP, 0o600), "unnamed": (-100, ".", TMP | RW, 0o600), "unnamed without its directory bit": (-100, ".", 0o20000000 | RW, 0o600),
        "beneath, up": (d, "../f", R, 0, 8), "in root, up": (d, "../f", R, 0, 16), "beneath, absolute": (d, "/etc/hostname", R, 0, 8), "in root, absolute": (-100, "/f", R, 0, 16), "in root, absolute link": (-100, "absolute", R, 0, 16), "no symlinks": (-100, "l", R, 0, 4), "no magic links": (-100, "/proc/self/exe", R, 0, 2), "no magic links, ordinary": (-100, "l", R, 0, 2),
        "no crossing": (-100, "/proc/self/status", R, 0, 1), "bad directory": (77, "f", R), "empty": (-100, "", R), "slash": (-100, "f/", R), "slash new": (-100, "new/", C | W, 0o600), "no such flag with O_PATH": (d, "../f", R | os.O_NOFOLLOW),
    }.items():
        say(label, openat2, *args)
        if os.path.exists("new"):
            print("made", oct(os.stat("new").st_mode))
            os.unlink("new")
    for label, how, size in (("no how", None, 24), ("how in no memory", b"", 24)):
        say(label, lambda: syscall(OPENAT2, -100, b"f", how if how is None else 4096, size))


def names():
    put("f")
    os.mkdir("d")
    os.symlink("new", "dangling")
    os.symlink("d/", "dlink")
    os.symlink("f/", "flink")
    for name in ("new/", "new//", "new/.", "new/..", "d/", "d/.", "f/", "f/.", "dangling/", "dlink/", "dlink", "flink", "no/new", "no/new/", "/", "//", ".", "..", "./", "", "d/..//f", "f/../f", "x" * 255, "x" * 256, "x" * 255 + "/", "./" * 2047, "./" * 2048, "d/" + "x" * 4090):
        for label, flags in (("r", R), ("w", W), ("make", C | W), ("alone", C | X | W), ("cut", C | T | W), ("make to read", C), ("directory", os.O_DIRECTORY), ("make directory", C | os.O_DIRECTORY), ("unnamed", TMP | RW), ("not followed", C | W | os.O_NOFOLLOW)):
            if name in ("/", "//", "..") and label == "unnamed":
                continue
            say(f"{label} {name[:12]}({len(name)})", opened, name, flags, 0o600)
            for made in ("new", "x" * 255):
                if os.path.lexists(made):
                    print("made", made[:5])
                    os.unlink(made)


def unnamed():
    for label, flags in (("unnamed", TMP | RW), ("for ever", TMP | RW | X)):
        fd = os.open(".", flags, 0o640)
        print(label, oct(os.fstat(fd).st_mode), os.fstat(fd).st_nlink, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_LARGEFILE)
        os.write(fd, b"text")
        say("link", lambda: "linked" if libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"linked", 0x400) == 0 else os.strerror(ctypes.get_errno()))
        say("again", lambda: contents(f"/proc/self/fd/{fd}"))
        say("again to write", opened, f"/proc/self/fd/{fd}", RW | T)
        os.close(fd)
        if os.path.exists("linked"):
            os.unlink("linked")
    say("in a file", opened, "/etc/hostname", TMP | RW)
    say("in procfs", opened, "/proc/self", TMP | RW)
    say("nowhere", opened, "no/such", TMP | RW)


def masks():
    for mask in (0o000, 0o022, 0o077, 0o777):
        os.umask(mask)
        for mode in (0o666, 0o777, 0o7777, 0o200):
            for label, flags, name in (("new", C | RW, "new"), ("unnamed", TMP | RW, ".")):
                fd = os.open(name, flags, mode)
                print(f"umask {mask:o}, {label} {mode:o}: {os.fstat(fd).st_mode:o}")
                os.close(fd)
            os.unlink("new")
    os.umask(0o022)
    child(lambda: (os.umask(0o007), put("childs"), print("child's", oct(os.stat("childs").st_mode))) and 0)
    put("parents")
    print("parent's", oct(os.stat("parents").st_mode))


def acls():
    """Default access lists take the umask's place (acl(5)); ordinary ones name more users than bits can."""
    os.umask(0o077)
    entry = struct.Struct("<HHI")
    none = 0xFFFFFFFF
    for name, entries in {
        "wide": ((1, 7, none), (4, 7, none), (0x20, 7, none)), "user": ((1, 7, none), (2, 6, 1000), (4, 0, none), (0x10, 6, none), (0x20, 0, none)), "narrow": ((1, 4, none), (4, 4, none), (0x20, 0, none)),
    }.items():
        os.mkdir(name)
        os.chmod(name, 0o777)
        value = struct.pack("<I", 2) + b"".join(entry.pack(*e) for e in entries)
        try:
            os.setxattr(name, "system.posix_acl_default", value)
            put(name + "/for")
            os.setxattr(name + "/for", "system.posix_acl_access", value)
        except OSError as e:
            print("no access lists:", name_of(e))
            continue
        for label, flags, file in (("new", C | RW, name + "/new"), ("unnamed", TMP | RW, name)):
            fd = os.open(file, flags, 0o666)
            print(f"{name}, {label}: {os.fstat(fd).st_mode:o} {os.getxattr(fd, 'system.posix_acl_access').hex() if name == 'user' else ''}")
            os.close(fd)
        say("read", opened, name + "/for")
        say("write", opened, name + "/for", W)
        if os.geteuid() == 0:
            child(lambda: (os.setgroups([]), os.setgid(1000), os.setuid(1000), say("user 1000 reads", opened, name + "/for"), say("user 1000 writes", opened, name + "/for", W)) and 0)
            child(lambda: (os.setgroups([]), os.setgid(1001), os.setuid(1001), say("user 1001 reads", opened, name + "/for"), say("user 1001 reads what was made", opened, name + "/new")) and 0)
    os.umask(0o022)


def sticky():
    """fs.protected_regular, fs.protected_fifos and fs.protected_symlinks, whatever the machine has set."""
    for name, mode in (("sticky", 0o1777), ("shared", 0o1775), ("open", 0o777)):
        os.mkdir(name)
        os.chmod(name, mode)
        for kind in ("own", "others"):
            put(f"{name}/{kind}")
            os.mkfifo(f"{name}/fifo-{kind}")
            for file in (f"{name}/{kind}", f"{name}/fifo-{kind}"):
                os.chmod(file, 0o666)
                if os.geteuid() == 0 and kind == "others":
                    os.chown(file, 1000, 1000)
            os.symlink(kind, f"{name}/link-{kind}")
            if os.geteuid() == 0 and kind == "others":
                os.chown(f"{name}/link-{kind}", 1000, 1000, follow_symlinks=False)
    users = [0, 1000, 1001] if os.geteuid() == 0 else [os.geteuid()]
    for uid in users:
        child(look, uid)


def look(uid):
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    for name in ("sticky", "shared", "open"):
        for file in ("own", "others", "fifo-own", "fifo-others", "link-own", "link-others"):
            for label, flags in (("make", C | RW), ("cut", C | T | RW), ("use", RW), ("make alone", C | X | RW)):
                say(f"{uid}: {label} {name}/{file}", opened, f"{name}/{file}", flags)


def deep():
    here = os.getcwd()
    for _ in range(50):
        os.mkdir("d" * 100)
        os.chdir("d" * 100)
    say("make", put, "f", "deep")
    say("read", contents, "f")
    say("by the directory", contents, "../" + "d" * 100 + "/f")
    say("here", opened, ".", os.O_DIRECTORY)
    fd = os.open(".", os.O_DIRECTORY)
    say("by a descriptor", lambda: opened("f", dir_fd=fd))
    say("made by a descriptor", lambda: opened("g", C | W, dir_fd=fd))
    say("unnamed", opened, ".", TMP | RW)
    say("missing", opened, "no")
    say("through /proc", contents, "/proc/self/cwd/f")
    os.chdir("..")
    say("below", contents, "d" * 100 + "/f")
    put("program.sh", "#!/bin/sh\necho ran\n")
    os.chmod("program.sh", 0o755)
    sys.stdout.flush()
    say("execute", lambda: os.spawnv(os.P_WAIT, "./program.sh", ["program.sh"]))
    os.chdir(here)
    say("all of the path", opened, ("d" * 100 + "/") * 50 + "f")


def gone():
    """The working directory has been removed, renamed, or covered."""
    os.mkdir("gone")
    fd = os.open("gone", os.O_DIRECTORY)
    os.chdir("gone")
    os.rmdir("../gone")
    for label, path, flags in (("here", ".", R), ("up", "..", R), ("file", "f", R), ("make", "f", C | W), ("up and down", "../kept", R), ("unnamed", ".", TMP | RW), ("through /proc", "/proc/self/cwd", R), ("in it", "/proc/self/cwd/f", C | W)):
        say(label, opened, path, flags)
        say(label + " by a descriptor", opened, path, flags, dir_fd=fd)


def renamed():
    os.mkdir("before")
    os.chdir("before")
    put("f", "moved")
    os.rename("../before", "../after")
    say("file", contents, "f")
    say("make", put, "g")
    say("by its old name", contents, "../before/f")
    say("by its new name", contents, "../after/f")
    fd = os.open("f", R)
    os.unlink("f")
    say("unlinked, by its descriptor", contents, f"/proc/self/fd/{fd}")
    put("f", "another")
    say("unlinked, with another of its name", contents, f"/proc/self/fd/{fd}")


def own():
    """What /proc/self and /dev say of whoever asks."""
    say("pid", lambda: int(os.readlink("/proc/self")) == os.getpid())
    for name in ("status", "stat", "comm", "cmdline", "cgroup", "limits", "mountinfo", "mounts", "environ", "maps", "smaps", "mem", "auxv", "io", "oom_score_adj", "loginuid", "setgroups", "uid_map", "stack", "syscall", "wchan", "pagemap", "personality", "attr/current", "net/tcp", "ns", "ns/mnt", "fd", "fdinfo", "task", "map_files", "cwd", "root", "exe", "clear_refs", "timerslack_ns", "sched", "coredump_filter"):
        for where in ("/proc/self", f"/proc/{os.getpid()}", "/proc/thread-self", f"/proc/self/task/{os.getpid()}"):
            label = f"{where.replace(str(os.getpid()), 'PID')}/{name}"
            say(label, opened, f"{where}/{name}")
            if name in ("comm", "oom_score_adj", "mem", "clear_refs", "timerslack_ns", "loginuid", "coredump_filter", "attr/current"):
                say(label + " to write", opened, f"{where}/{name}", W)
    say("is itself", lambda: contents("/proc/self/stat").split()[0] == str(os.getpid()))
    say("environ", lambda: "TRACED" in contents("/proc/self/environ"))
    say("comm", put, "/proc/self/comm", "renamed")
    say("comm", contents, "/proc/self/comm")
    say("self, child's", lambda: child(lambda: contents("/proc/self/stat").split()[0] != str(os.getpid())))
    other = os.getppid()
    for name in ("status", "cmdline", "comm"):
        say(f"parent's {name}", opened, f"/proc/{other}/{name}")
    for name in ("no/such", "self/no", "99999999", "self/fd/99", "self/task/1", "sys/kernel/pid_max", "uptime", "version", "kmsg", "kcore", "kallsyms"):
        say(name, opened, "/proc/" + name)


def descriptors():
    r, w = os.pipe()
    a, _ = socket.socketpair()
    memory = os.memfd_create("memory")
    os.write(memory, b"remembered")
    put("f")
    path = os.open("f", os.O_PATH)
    event = os.eventfd(0)
    deleted = os.open("deleted", C | RW)
    os.unlink("deleted")
    only_read = os.open("f", R)
    directory = os.open(".", R)
    for name, fd in (("pipe", r), ("pipe's other end", w), ("socket", a.fileno()), ("memory", memory), ("path", path), ("eventfd", event), ("deleted", deleted), ("only to read", only_read), ("directory", directory), ("none", 99)):
        for where in ("/proc/self/fd", "/dev/fd", f"/proc/{os.getpid()}/fd", "/proc/thread-self/fd"):
            for label, flags in (("r", R), ("w", W), ("rw", RW), ("cut", RW | T), ("make", RW | C), ("alone", RW | C | X), ("not followed", R | os.O_NOFOLLOW), ("nonblock", R | os.O_NONBLOCK)):
                say(f"{where.replace(str(os.getpid()), 'PID')} {name} {label}", opened, f"{where}/{fd}", flags)
    say("in a directory's descriptor", opened, f"/proc/self/fd/{directory}/f")
    say("in a file's descriptor", opened, f"/proc/self/fd/{only_read}/f")
    say("up from one", opened, f"/proc/self/fd/{directory}/../", R)
    for name in ("stdin", "stdout", "stderr"):
        say(name, opened, "/dev/" + name, W if name != "stdin" else R)


SECTIONS = [no_descriptor_left, openat2_checks, names, unnamed, masks, acls, sticky, deep, gone, renamed, own, descriptors]


def section(f):
    os.mkdir(f.__name__)
    os.chmod(f.__name__, 0o755)
    os.chdir(f.__name__)
    f()


for f in SECTIONS:
    if len(sys.argv) == 1 or f.__name__ in sys.argv:
        print("==", f.__name__)
        print(child(section, f))
