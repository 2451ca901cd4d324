"""Opens in other roots and under other mounts. Usage: roots.py [chroot]; without an argument it mounts, and wants a mount
namespace around it."""
import ctypes
import os
import sys
import threading

from calls import child, contents, libc, number, opened, put, say, syscall

NEWNS, FS, BIND, REC, PRIVATE, DETACH = 0x20000, 0x200, 0x1000, 0x4000, 0x40000, 2


def checked(r):
    if r:
        raise OSError(ctypes.get_errno(), "")
    return "done"


def mount(what, where, kind=None, flags=0, data=None):
    return checked(libc.mount(what.encode(), where.encode(), kind and kind.encode(), ctypes.c_ulong(flags), data))


def unshare(flags):
    return checked(libc.unshare(flags))


def fill(root, text):
    os.makedirs(root + "/etc", exist_ok=True)
    put(root + "/etc/file", text)
    put(root + "/f", text)
    for name, to in (("link", "/etc/file"), ("up", "../../../../etc/file"), ("self", "/proc/self/root/etc/file")):
        os.path.lexists(f"{root}/{name}") or os.symlink(to, f"{root}/{name}")


def look(label):
    for name in ("/etc/file", "/link", "/up", "/../etc/file", "etc/file", "f", "../f", "link", "/proc/self/root/etc/file", "/proc/self/cwd/f", "/self"):
        say(f"{label}, {name}", contents, name)
    say(f"{label}, make", put, "/made", label)
    say(f"{label}, made", contents, "/made")


def namespace():
    put("mnt/f", "outside")
    unshare(NEWNS)
    mount("none", "/", None, REC | PRIVATE)
    mount("none", "mnt", "tmpfs")
    put("mnt/f", "inside")
    say("in the namespace", contents, "mnt/f")
    here = os.getcwd()
    for name in (f"{here}/mnt/f", f"/proc/self/cwd/mnt/f", f"/proc/{os.getpid()}/root{here}/mnt/f", f"/proc/self/root{here}/mnt/f"):
        say(name.replace(str(os.getpid()), "PID"), contents, name)
    say("another's", contents, f"/proc/{os.getppid()}/cwd/mnt/f")
    mount(f"{here}/other", f"{here}/mnt", None, BIND)
    say("bound", contents, "mnt/f")
    say("made", put, "mnt/new")
    fd = os.open("mnt", os.O_DIRECTORY)
    libc.umount2(f"{here}/mnt".encode(), DETACH)
    say("uncovered", contents, "mnt/f")
    say("by the descriptor of what was unmounted", lambda: opened("f", dir_fd=fd))
    say("of a child", lambda: child(lambda: say("child", contents, "mnt/f") and 0))
    os.symlink(f"{here}/mnt", "tomnt")
    say("through a link", contents, "tomnt/f")


def pivoted():
    unshare(NEWNS)
    mount("none", "/", None, REC | PRIVATE)
    mount("none", "mnt", "tmpfs")
    fill("mnt", "inside")
    os.mkdir("mnt/old")
    os.mkdir("mnt/proc")
    mount("/proc", "mnt/proc", None, BIND | REC)
    os.chdir("mnt")
    checked(libc.syscall(ctypes.c_long(number(155, 41)), b".", b"old"))
    os.chdir("/")
    say("pivoted", contents, "/f")
    look("pivoted")
    say("old", contents, "/old/etc/hostname")
    say("undone", lambda: checked(libc.umount2(b"/old", DETACH)))
    look("pivoted, alone")


def threads():
    """A thread with a directory and a root of its own."""
    done, go = threading.Event(), threading.Event()
    os.makedirs("a", exist_ok=True)
    fill("a", "thread's")

    def other():
        unshare(FS)
        os.chdir("a")
        say("thread", contents, "f")
        os.chroot(".")
        say("thread in its root", contents, "/f")
        say("thread, thread-self", contents, "/f")
        done.set()
        go.wait()
        say("thread, later", contents, "/f")

    put("f", "process's")
    t = threading.Thread(target=other)
    t.start()
    done.wait()
    say("process", contents, "f")
    say("process's root", contents, "/f")
    go.set()
    t.join()


def chroot():
    fill("jail", "in the root")
    put("f", "outside")
    before = os.open(".", os.O_DIRECTORY)
    os.chdir("jail")
    os.chroot(".")
    say("in the root", contents, "/f")
    look("in the root")
    say("by a descriptor from before", lambda: os.read(os.open("f", os.O_RDONLY, dir_fd=before), 99))
    say("up from it", lambda: opened("../../../../etc/passwd", dir_fd=before))
    say("of a child", lambda: child(lambda: say("child", contents, "/f") and 0))


def outside():
    """A root that the working directory is not in."""
    fill("jail", "in the root")
    put("f", "outside")
    os.chroot("jail")
    look("outside of the root")
    os.fchdir(os.open("..", os.O_DIRECTORY))
    say("up", opened, "etc/passwd")


def as_another():
    fill("jail", "in the root")
    os.chdir("jail")
    os.chroot(".")
    os.setgroups([])
    os.setgid(1000)
    os.setuid(1000)
    look("another user in the root")


for f in [chroot, outside, as_another, threads] if len(sys.argv) > 1 else [namespace, pivoted, threads]:
    print("==", f.__name__)
    os.mkdir(f.__name__)
    os.chmod(f.__name__, 0o755)
    os.chdir(f.__name__)
    for name in ("mnt", "other"):
        os.mkdir(name)
    put("other/f", "other")
    print(child(f))
    os.chdir("..")
