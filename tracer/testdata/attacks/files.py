"""Ways to a file that a rule denies. Each either reads it or changes it; says of each whether it "won" or "lost".
Usage: files.py DIR; without it, it lists the ways. In DIR each way has a directory with secret/key, to be denied, and public/file."""
import ctypes
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(__file__))
from each import each

libc = ctypes.CDLL(None, use_errno=True)
ARM = os.uname().machine == "aarch64"
CWD = -100


def number(amd64, arm64):
    return arm64 if ARM else amd64


def syscall(nr, *args):
    ctypes.set_errno(0)
    r = libc.syscall(ctypes.c_long(nr), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if r == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return r


def read(path, **named):
    fd = os.open(path, os.O_RDONLY, **named)
    return os.read(fd, 99)


def shell(script):
    return subprocess.run(["/bin/sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


# Ways to name it.
def plain(): return read("secret/key")
def dots(): return read("public/../secret/./key")
def slashes(): return read("//" + os.path.abspath("secret/key").replace("/", "//"))
def relative(): os.chdir("public"); return read("../secret/key")
def by_dirfd(): return read("key", dir_fd=os.open("secret", os.O_PATH))
def by_long_name(): os.chdir("secret"); return read("./" * 2000 + "key")
def symlink(): os.symlink("../secret/key", "public/s"); return read("public/s")
def symlinked_directory(): os.symlink("../secret", "public/d"); return read("public/d/key")
def links_to_links(): os.symlink("../secret", "public/a"); os.symlink("a/key", "public/b"); return read("public/b")
def proc_root(): return read("/proc/self/root" + os.path.abspath("secret/key"))
def proc_cwd(): return read("/proc/self/cwd/secret/key")
def thread_self(): return read("/proc/thread-self/cwd/secret/key")
def others_cwd(): return shell(f"cat /proc/{os.getpid()}/cwd/secret/key")
def descriptor(): d = os.open("secret", os.O_PATH); return read(f"/proc/self/fd/{d}/key")
def dev_fd(): d = os.open("secret", os.O_RDONLY); return read(f"/dev/fd/{d}/key")
def reopened(): p = os.open("secret/key", os.O_PATH); return read(f"/proc/self/fd/{p}")


# Other calls.
def openat2(): return os.read(syscall(437, CWD, b"secret/key", ctypes.create_string_buffer(struct.pack("QQQ", 0, 0, 0)), 24), 99)
def old_open(): return os.read(syscall(2, b"secret/key", 0, 0), 99)
def by_handle():
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    syscall(number(303, 264), CWD, b"secret/key", handle, ctypes.byref(mount), 0)
    return os.read(syscall(number(304, 265), os.open(".", os.O_RDONLY), handle, 0), 99)
def mapped(): return mmap.mmap(os.open("secret/key", os.O_RDONLY), 0, prot=mmap.PROT_READ)[:]
def uring():
    parameters = ctypes.create_string_buffer(120)
    return b"content" if syscall(425, 4, parameters) > 0 else b""
def truncated(): os.truncate("secret/key", 0); return b"content"
def created(): os.open("secret/key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC); return b"content"


# Other names and places.
def hard_link(): os.link("secret/key", "public/l"); return read("public/l")
def linked_descriptor(): syscall(number(265, 37), CWD, b"/proc/self/fd/%d" % os.open("secret/key", os.O_PATH), CWD, b"public/l", 0x400); return read("public/l")
def renamed(): os.rename("secret/key", "public/r"); return read("public/r")
def directory_renamed(): os.rename("secret", "public/r"); return read("public/r/key")
def exchanged():
    syscall(number(316, 276), CWD, b"public", CWD, b"secret", 2)
    return read("public/key")
def renamed_over(): os.rename("public/file", "secret/key"); return b"content"
def attribute(): os.setxattr("secret/key", "user.x", b"x"); return b"content"
def dated(): os.utime("secret/key", (1, 2)); return b"content"
def unlinked(): os.unlink("secret/key"); return b"content"
def bind_mount():
    syscall(number(272, 97), 0x20000)
    syscall(number(165, 40), b"none", b"/", None, 0x44000, None)
    syscall(number(165, 40), b"secret", b"public", None, 4096, None)
    return read("public/key")
def own_namespace():
    syscall(number(272, 97), 0x10020000)
    syscall(number(165, 40), b"secret", b"public", None, 4096, None)
    return read("public/key")
def new_mount():
    syscall(number(272, 97), 0x20000)
    tree = syscall(428, CWD, b"secret", 1)
    return read("key", dir_fd=tree)
def rooted(): os.chroot("secret"); return read("/key")
def rooted_above(): os.chroot("public"); return read("secret/key")


# Other processes and threads.
def forked(): return shell("cat secret/key")
def daemon(): return shell("(setsid sh -c 'sleep 0.1; cat secret/key' &) ; sleep 0.5")
def in_thread():
    got = []

    def reads():
        try:
            got.append(read("secret/key"))
        except OSError:
            pass
    t = threading.Thread(target=reads)
    t.start(), t.join()
    return got[0]
def untraced():
    r, w = os.pipe()
    if syscall(number(56, 220), 0x00800000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        try:
            os.write(w, read("secret/key"))
        finally:
            os._exit(0)
    os.close(w)
    return os.read(r, 99)
def received():
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            socket.send_fds(theirs, [b"x"], [os.open("secret/key", os.O_RDONLY)])
        finally:
            os._exit(0)
    theirs.close()
    return os.read(socket.recv_fds(ours, 1, 1)[1][0], 99)
def as_another_user():
    os.setgroups([]), os.setresgid(1000, 1000, 1000), os.setresuid(1000, 1000, 1000)
    return read("secret/key")


WAYS = {n: f for n, f in list(globals().items()) if callable(f) and getattr(f, "__module__", "") == "__main__" and n not in ("each", "number", "syscall", "read", "shell")}
if ARM:
    del WAYS["old_open"]
if len(sys.argv) < 2:
    print("\n".join(WAYS))
else:
    each({n: lambda f=f: b"content" in bytes(f()) for n, f in WAYS.items()}, sys.argv[1])
