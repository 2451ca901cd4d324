"""Opens of a process that changes its rights in each way that there is: what the kernel would refuse it stays refused, and
what it keeps it may use. Usage: rights.py"""
import ctypes
import os
import threading

from calls import child, libc, number, opened, put, say, syscall

SETUID, SETGID, SETFSUID, SETRESUID = number(105, 146), number(106, 144), number(122, 151), number(117, 147)
SETGROUPS, CAPSET, KEEPCAPS, SECUREBITS = number(116, 159), number(126, 91), 8, 28
DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID = 1, 2, 3, 4


def look(label):
    for name in ("anyones", "roots", "users", "groups", "closed/in", "shut", "shutdir/in"):
        say(f"{label}, read {name}", opened, name)
        say(f"{label}, write {name}", opened, name, os.O_WRONLY)
    say(f"{label}, noatime", opened, "anyones", os.O_NOATIME)
    say(f"{label}, make", opened, "closed/new", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o6777)
    try:
        st = os.lstat("closed/new")
        print(f"{label}, made {st.st_mode:o} {st.st_uid}:{st.st_gid}")
        os.unlink("closed/new")
    except OSError:
        pass
    say(f"{label}, execute", lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"]))


def capset(effective, permitted=None):
    permitted = effective if permitted is None else permitted
    data = [effective & 0xFFFFFFFF, permitted & 0xFFFFFFFF, 0, effective >> 32, permitted >> 32, 0]
    return syscall(CAPSET, (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*data))


def dropped():
    look("with all")
    say("capset", capset, 0, permitted() & (1 << DAC_OVERRIDE | 1 << FOWNER))
    look("effective none")
    say("capset", capset, 1 << DAC_OVERRIDE)
    look("override again")
    say("capset", capset, 0)
    look("none")


def permitted():
    with open("/proc/self/status") as f:
        return int(next(l for l in f if l.startswith("CapPrm")).split()[1], 16)


def single():
    for bit in (DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID):
        child(only, bit)


def only(bit):
    say(f"capset {bit}", capset, 1 << bit)
    look(f"only {bit}")


def kept():
    libc.prctl(KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([4321])
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 1000)
    look("another user")
    say("capset", capset, 1 << DAC_OVERRIDE)
    look("that kept the capability")
    say("capset", capset, 0)
    look("and laid it down")


def fixed():
    say("securebits", lambda: libc.prctl(SECUREBITS, 4, 0, 0, 0))  # SECBIT_NO_SETUID_FIXUP
    os.seteuid(1000)
    look("user with root's capabilities")


def effective():
    os.setegid(1000)
    os.seteuid(1000)
    look("effective user")
    os.seteuid(0)
    os.setegid(0)
    look("root again")


def filesystem():
    syscall(SETFSUID, 1000)
    look("file system user")
    syscall(SETFSUID, 0)
    look("file system root")


def real():
    os.setresuid(1000, 0, 0)
    look("real user")


def groups():
    os.setgroups([4321, 7])
    os.setgid(7)
    os.setuid(1000)
    look("in a group")


def raw():
    """One thread alone changes its user, by the raw call."""
    done, go = threading.Event(), threading.Event()

    def other():
        syscall(SETGROUPS, 0, None)
        syscall(SETRESUID, 1000, 1000, 1000)
        look("a thread of another user")
        done.set()
        go.wait()
        look("the same thread, later")

    t = threading.Thread(target=other)
    t.start()
    done.wait()
    look("the first thread")
    go.set()
    t.join()


def main():
    os.umask(0o022)
    root = os.getuid() == 0
    for name in ("anyones", "roots", "users", "groups", "shut"):
        put(name)
    for name in ("closed", "shutdir"):
        os.mkdir(name)
        put(name + "/in")
    os.chmod(".", 0o755)
    os.chmod("anyones", 0o666)
    os.chmod("roots", 0o600)
    os.chmod("users", 0o600)
    os.chmod("groups", 0o060)
    os.chmod("shut", 0)
    if root:
        os.chown("users", 1000, 1000)
        os.chown("groups", 3, 4321)
        os.chown("closed", 0, 4321)
    os.chmod("closed", 0o2770)
    os.chmod("shutdir", 0)
    if not root:
        look("as it is")
        return
    for f in (dropped, single, kept, fixed, effective, filesystem, real, groups, raw):
        print("==", f.__name__)
        print(child(f))
    look("at the end")


main()
