"""What a process that is in namespaces of its own sees of them in files: /proc tells it of its own ones.
Usage: namespaces.py SECTION…"""
import ctypes
import os
import socket
import sys

from calls import child, contents, libc, opened, put, say

USER, MOUNT, NET, UTS, IPC, PID = 0x10000000, 0x20000, 0x40000000, 0x04000000, 0x08000000, 0x20000000


def unshare(flags):
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "")
    return "done"


def line(path, name):
    return " ".join(next(l for l in contents(path).split("\n") if l.startswith(name)).split())


def user(mapped):
    uid, gid = os.getuid(), os.getgid()
    if say("user namespace", unshare, USER) != "done":
        return
    say("unmapped, status", line, "/proc/self/status", "Uid")
    if mapped:
        say("setgroups", put, "/proc/self/setgroups", "deny")
        say("uid_map", put, "/proc/self/uid_map", f"0 {uid} 1")
        say("gid_map", put, "/proc/self/gid_map", f"0 {gid} 1")
        say("uid_map again", put, "/proc/self/uid_map", f"0 {uid} 1")
    for name in ("uid_map", "gid_map", "setgroups"):
        say("tells " + name, lambda: " ".join(contents("/proc/self/" + name).split()))
    say("status", line, "/proc/self/status", "Uid")
    say("groups", line, "/proc/self/status", "Gid")
    say("capabilities", line, "/proc/self/status", "CapEff")
    for name in ("kept", "shut", "/etc/shadow", "/proc/1/environ", "/proc/self/environ", "/proc/self/mem"):
        say("open " + name, opened, name)
        say("open to write " + name, opened, name, os.O_WRONLY) if name[0] != "/" else None
    say("make", put, "made by root of a namespace")
    say("owner", lambda: os.stat("made by root of a namespace").st_uid)
    os.unlink("made by root of a namespace")
    say("oom_score_adj", put, "/proc/self/oom_score_adj", "100")
    say("comm", put, "/proc/self/comm", "another")
    nested()


def nested():
    if say("nested", unshare, USER) != "done":
        return
    say("nested uid_map", lambda: " ".join(contents("/proc/self/uid_map").split()))
    say("nested map", put, "/proc/self/uid_map", "0 0 1")
    say("nested uid_map", lambda: " ".join(contents("/proc/self/uid_map").split()))
    say("nested status", line, "/proc/self/status", "Uid")
    say("nested open", opened, "shut")


def net():
    if say("net namespace", unshare, NET) != "done":
        return
    for name in ("/proc/net/dev", "/proc/self/net/dev", "/proc/thread-self/net/dev", f"/proc/{os.getpid()}/net/dev"):
        say(name.replace(str(os.getpid()), "PID"), lambda: len(contents(name).split("\n")))
    own = "/proc/sys/net/ipv4/ip_default_ttl"
    say("ttl", put, own, "77")
    say("ttl", contents, own)
    say("unix sockets", lambda: len(contents("/proc/net/unix").split("\n")))
    say("in /sys", lambda: contents("/sys/class/net/lo/operstate"))


def ipc():
    if say("ipc namespace", unshare, IPC) != "done":
        return
    say("shmmni", put, "/proc/sys/kernel/shmmni", "1234")
    say("shmmni", contents, "/proc/sys/kernel/shmmni")
    say("msgmax", contents, "/proc/sys/kernel/msgmax")
    libc.shmget(0, 4096, 0o1600)
    say("segments", lambda: len(contents("/proc/sysvipc/shm").split("\n")))
    say("queues", put, "/proc/sys/fs/mqueue/queues_max", "300")
    say("queues", contents, "/proc/sys/fs/mqueue/queues_max")


def uts():
    if say("uts namespace", unshare, UTS) != "done":
        return
    say("hostname", put, "/proc/sys/kernel/hostname", "other")
    say("hostname", contents, "/proc/sys/kernel/hostname")
    say("is", lambda: socket.gethostname() == "other")


def limits():
    if say("user namespace", unshare, USER) != "done":
        return
    say("user limits", contents, "/proc/sys/user/max_user_namespaces")


def mapped():
    user(True)


def unmapped():
    user(False)


def main():
    put("kept")
    put("shut")
    os.chmod("shut", 0)
    for f in (mapped, unmapped, net, ipc, uts, limits):
        if f.__name__ in sys.argv:
            print("==", f.__name__)
            print(child(f))
    print("== afterwards")
    for name in ("net/ipv4/ip_default_ttl", "kernel/shmmni", "fs/mqueue/queues_max"):
        say(name, contents, "/proc/sys/" + name)


main()
