"""Calls that give a program other rights, or reach into another process, the kernel or out of the container. Says what each
gives. Usage: escapes.py PID, a process to reach into, which is to be another user's."""
import ctypes
import os
import signal
import struct
import sys

from calls import child, libc, number, say, syscall

buffer = ctypes.create_string_buffer(64)
iov = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(buffer), 8))
NEWUSER, NEWNS, NEWUTS = 0x10000000, 0x20000, 0x04000000
tracer = int(sys.argv[1])


def sleeper():
    signal.pause()


def reach():
    """What is done to a child of its own."""
    pid = os.fork()
    if pid == 0:
        sleeper()
    say("ptrace", syscall, number(101, 117), 16, pid, 0, 0)
    os.waitpid(pid, 0)
    say("write", syscall, number(311, 271), pid, iov, 1, iov, 1, 0)
    say("kill", os.kill, pid, 9)
    os.waitpid(pid, 0)


def cloned(flags):
    sys.stdout.flush()
    pid = syscall(number(56, 220), flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def others():
    say("memfd", lambda: syscall(number(319, 279), b"evil", 1) > 0)
    say("clone", cloned, NEWUSER | NEWUTS)
    say("plain clone", cloned, 0)
    say("mount", syscall, number(165, 40), b"tmpfs", b"dir", b"tmpfs", 0, b"size=1m")
    say("mount of nothing", syscall, number(165, 40), b"tmpfs", b"missing", b"tmpfs", 0, None)
    say("umount", syscall, number(166, 39), b"dir", 2)
    say("keyctl", syscall, number(250, 219), 0x7777, 0, 0, 0, 0)
    say("bpf", syscall, number(321, 280), 0x7777, None, 0)
    say("perf", syscall, number(298, 241), None, 0, -1, -1, 0)
    say("module", syscall, number(313, 273), -1, b"", 0)
    say("sethostname", syscall, number(170, 161), None, -1)
    say("settimeofday", syscall, number(164, 170), 1, 1)
    say("swapoff", syscall, number(168, 225), b"dir")
    say("prctl", syscall, number(157, 167), 0x59616d61, os.getpid(), 0, 0, 0)
    say("name", syscall, number(157, 167), 15, b"name", 0, 0, 0)
    say("handle", syscall, number(303, 264), -100, b"dir", ctypes.create_string_buffer(struct.pack("ii", 32, 0) + b"x" * 32), buffer, 0)
    say("chroot", os.chroot, "dir")


def refused():
    say("uring", syscall, number(425, 425), 8, None)
    say("userfaultfd", syscall, number(323, 282), 0)
    say("fsopen", syscall, number(430, 430), b"tmpfs", 0)
    say("clone3", syscall, number(435, 435), None, 0)
    say("attach to the tracer", syscall, number(101, 117), 16, tracer, 0, 0)
    say("write into the tracer", syscall, number(311, 271), tracer, iov, 1, iov, 1, 0)
    tids = sorted(int(t) for t in os.listdir(f"/proc/{tracer}/task"))
    for sig in (signal.SIGKILL, signal.SIGSTOP):
        say("kill the tracer", os.kill, tracer, sig)
        say("kill a thread of the tracer", syscall, number(200, 130), tids[-1], sig)
        say("kill by a thread", syscall, number(234, 131), tracer, tids[-1], sig)
        say("queue", syscall, number(129, 138), tids[-1], sig, buffer)


def users():
    libc.unshare(NEWUTS)
    say("setgroups", os.setgroups, [7])
    say("setresgid", os.setresgid, 5, -1, 7)
    say("setreuid", os.setreuid, -1, 7)
    say("setuid", os.setuid, 3)
    say("setresuid", os.setresuid, 7, 7, 7)
    say("setuid back", os.setuid, 0)


os.mkdir("dir")
child(reach)
child(others)
if tracer:
    child(refused)
child(users)
