#!/usr/bin/python3.11
"""Opens files after the process, or one of its threads, has changed what it may or
where it is, each time without starting another program."""
import ctypes
import errno
import os
import shutil
import signal
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER = 1, 2, 3
NEWNS, NEWUSER, NEWPID, FILES, FS = 0x20000, 0x10000000, 0x20000000, 0x400, 0x200


def call(number, *args):
    ctypes.set_errno(0)
    came = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if came < 0:
        raise OSError(ctypes.get_errno(), "")
    return came


def opened(name, flags=os.O_RDONLY):
    try:
        fd = os.open(name, flags, 0o666)
    except OSError as e:
        return errno.errorcode[e.errno]
    text = b""
    if flags == os.O_RDONLY and not name.startswith("/") and not os.path.isdir(name):
        text = os.read(fd, 100)
    os.close(fd)
    return f"fd {fd} {text.decode().strip()}"


def look(what):
    print(what, *(f"{name}: {opened(name)};" for name in ("open", "closed", "readonly", "shut/in", "dir/in", "/etc/hostname", "/etc/shadow", "/proc/self/comm")), "new:", opened("new", os.O_CREAT | os.O_WRONLY), "readonly:", opened("readonly", os.O_WRONLY), "append:", opened("theirs", os.O_WRONLY | os.O_APPEND))
    try:
        st = os.stat("new")
        print("  new is", oct(st.st_mode), st.st_uid, st.st_gid)
        os.unlink("new")
    except OSError as e:
        print("  new:", errno.errorcode[e.errno])


def without(*capabilities):
    """capset(2): leaves out capabilities from the effective set."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    call(125, header, data)
    for c in capabilities:
        data[0] &= ~(1 << c)
    call(126, header, data)
    look("capabilities dropped")


def everything():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call(126, header, (ctypes.c_uint32 * 6)())
    look("no capabilities")


def user():
    os.setgroups([7])
    os.setresgid(1234, 1234, 1234)
    os.setresuid(1234, 1234, 1234)
    look("another user")


def effective():
    os.setegid(1234)
    os.seteuid(1234)
    look("effective user")
    os.seteuid(0)
    look("and back")


def files_user():
    libc.setfsgid(1234)
    libc.setfsuid(1234)
    look("file system user")
    libc.setfsuid(0)
    look("and back")


def keep():
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setresuid(1234, 1234, 1234)
    look("kept capabilities, not effective")
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    call(125, header, data)
    data[0] |= data[1] & (1 << DAC_OVERRIDE)
    call(126, header, data)
    look("kept capabilities, effective")


def group():
    os.setgroups([4321])
    os.setresuid(1234, 1234, 0)
    look("a group")


def thread():
    """Only this thread becomes another user: the calls of the kernel are of threads."""
    def other():
        call(119, 1234, 1234, -1)
        call(117, 1234, 1234, -1)
        look("the thread")
    t = threading.Thread(target=other)
    t.start()
    t.join()
    look("the others")


def thread_directory():
    """A thread with a directory and descriptors of its own."""
    def other():
        call(272, FS)
        os.chdir("dir")
        print("its own directory:", opened("in"), opened("open"))
        call(272, FILES)
        print("its own descriptors:", opened("in"))
    t = threading.Thread(target=other)
    t.start()
    t.join()
    print("the others:", opened("in"), opened("dir/in"))


def root():
    fd = os.open(".", os.O_RDONLY)
    os.chroot("jail")
    print("jail, outside:", opened("open"), opened("/open"), opened("/in"))
    os.chdir("/")
    print("jail:", opened("in"), opened("/in"), opened("../in"), opened("/link"), opened("/../../open"), opened("/proc/self/comm"))
    print("a directory outside:", end=" ")
    try:
        print(os.read(os.open("open", 0, dir_fd=fd), 10))
    except OSError as e:
        print(errno.errorcode[e.errno])
    os.fchdir(fd)
    look("fchdir")


def mounts():
    call(272, NEWNS)
    if libc.mount(b"none", b"/", None, 0x44000, None) or libc.mount(b"none", b"dir", b"tmpfs", 0, None):
        print("mount:", errno.errorcode[ctypes.get_errno()])
        return
    with open("dir/in", "w") as f:
        f.write("hidden\n")
    look("mount namespace")
    libc.mount(b"none", b"dir", None, 0x21, None)  # MS_REMOUNT | MS_RDONLY
    print("read-only:", opened("dir/in", os.O_WRONLY), opened("dir/in"))


def mapped():
    uid, gid = os.getuid(), os.getgid()
    call(272, NEWUSER | NEWNS)
    print("not mapped:", os.getuid(), opened("closed"))
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        try:
            fd = os.open("/proc/self/" + name, os.O_WRONLY)
            os.write(fd, text.encode())
            os.close(fd)
        except OSError as e:
            print(name, errno.errorcode[e.errno])
    print("mapped:", os.getuid())
    look("user namespace")
    print("mount:", libc.mount(b"none", b"dir", b"tmpfs", 0, None))
    print(opened("dir/in"), opened("dir/made", os.O_CREAT | os.O_WRONLY))


def processes():
    call(272, NEWPID)
    pid = os.fork()
    if not pid:
        print("process", os.getpid())
        look("pid namespace")
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)


def landlock():
    libc.prctl(38, 1, 0, 0, 0)
    attr = (ctypes.c_uint64 * 1)(0xF)  # execute, write, read a file, list a directory
    ruleset = call(444, attr, 8, 0)
    below = os.open("dir", os.O_PATH)
    call(445, ruleset, 1, (ctypes.c_char * 12)(*((0xF).to_bytes(8, "little") + below.to_bytes(4, "little"))), 0)
    call(446, ruleset, 0)
    os.close(ruleset)
    os.close(below)
    print("landlock:", opened("dir/in"), opened("dir/in", os.O_WRONLY), opened("open"), opened("open", os.O_WRONLY), opened("/etc/hostname"), opened("."), opened("open", os.O_PATH))


def undumpable():
    libc.prctl(4, 0, 0, 0, 0)
    look("not dumpable")
    print(opened("/proc/self/environ"), opened("/proc/self/fd"), opened("/dev/stdin", os.O_WRONLY))


def sizes():
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    look("no size")


def umask():
    os.umask(0o077)
    look("umask")
    os.umask(0)
    look("no umask")


def deep():
    for _ in range(50):
        os.mkdir("d" * 100)
        os.chdir("d" * 100)
    print("deep:", opened("f", os.O_CREAT | os.O_WRONLY), opened("f"), opened("../" + "d" * 100 + "/f"))


def nameless():
    for flags, what in ((os.O_RDWR, "may be linked"), (os.O_RDWR | os.O_EXCL, "may not")):
        fd = os.open(".", os.O_TMPFILE | flags, 0o640)
        libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"linked", 0x400)
        print("nameless,", what, os.path.exists("linked"), os.fstat(fd).st_nlink)
        if os.path.exists("linked"):
            os.unlink("linked")


def removed():
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
    print("removed directory:", opened("f", os.O_CREAT | os.O_WRONLY), opened("."), opened("../open"))


def make():
    os.umask(0o022)
    for name in ("shut", "dir", "jail", "jail/proc"):
        os.mkdir(name)
    for name, mode in (("open", 0o644), ("closed", 0o600), ("readonly", 0o444), ("shut/in", 0o644), ("dir/in", 0o644), ("jail/in", 0o644), ("theirs", 0o660)):
        with open(name, "w") as f:
            f.write(f"text of {name}\n")
        os.chmod(name, mode)
    os.symlink("/in", "jail/link")
    if os.geteuid() == 0:
        os.chown("theirs", 4321, 4321)
        os.chmod(".", 0o777)
    os.chmod("shut", 0o700)


make()
for what in (lambda: look("as it is"), lambda: without(DAC_OVERRIDE, DAC_READ_SEARCH), lambda: without(FOWNER), everything, user, effective, files_user, keep, group, thread, thread_directory,
             root, mounts, mapped, processes, landlock, undumpable, sizes, umask, deep, nameless, removed):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            what()
        except OSError as e:
            print(getattr(what, "__name__", ""), "failed:", errno.errorcode.get(e.errno, e.errno))
        sys.stdout.flush()
        os._exit(0)
    print("ended", os.waitpid(child, 0)[1])
shutil.rmtree("d" * 100, ignore_errors=True)
print("removed", not os.path.exists("d" * 100))
