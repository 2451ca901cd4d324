"""Attacks on another process, by its number: to take its secrets, its resources or its life, or to write into it. Says
of each way whether it "won" or "lost". Usage: tracer.py PID WITHOUT…, where PID 0 stands for a process of its own for each, and
WITHOUT are ways that are left out."""
import ctypes
import os
import resource
import signal
import struct
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
ARM = os.uname().machine == "aarch64"


def number(amd64, arm64):
    return arm64 if ARM else amd64


def syscall(nr, *args):
    ctypes.set_errno(0)
    r = libc.syscall(ctypes.c_long(nr), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if r == -1:
        raise OSError(ctypes.get_errno(), "")
    return r


def victim():
    """Starts a process to attack, in a group of its own."""
    pid = subprocess.Popen(["sleep", "60"], start_new_session=True, stderr=subprocess.DEVNULL, env={"A": "B"}).pid
    for _ in range(1000):  # it is known to have begun its exec, not to be done with it
        if open(f"/proc/{pid}/environ", "rb").read():
            break
        time.sleep(0.01)
    return pid


def anywhere():
    return int(open(f"/proc/{pid}/maps").readline().split("-")[0], 16)


def gone():
    """Whether the process is gone, or has stopped."""
    for _ in range(20 if int(sys.argv[1]) else 500):
        try:
            if open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] in "ZTt":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def environment(): return len(open(f"/proc/{pid}/environ", "rb").read()) > 0
def memory_file(): fd = os.open(f"/proc/{pid}/mem", os.O_RDWR); return len(os.pread(fd, 8, anywhere())) == 8
def attach(): return syscall(number(101, 117), 16, pid, 0, 0) == 0
def seize(): return syscall(number(101, 117), 0x4206, pid, 0, 0) == 0
def vm_read():
    b = ctypes.create_string_buffer(8)
    iov, remote = (ctypes.create_string_buffer(struct.pack("QQ", a, 8)) for a in (ctypes.addressof(b), anywhere()))
    return syscall(number(310, 270), pid, iov, 1, remote, 1, 0) == 8
def descriptors(): return len(os.listdir(f"/proc/{pid}/fd")) >= 0
def take_descriptor(): return syscall(438, os.pidfd_open(pid), 0, 0) >= 0
def root_of(): return bool(os.stat(f"/proc/{pid}/root/"))
def limit(): resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3)); return True
def limit_thread(): resource.prlimit(tids[-1], resource.RLIMIT_AS, (1 << 20, 1 << 20)); return True
def nice(): os.setpriority(os.PRIO_PROCESS, tids[-1], 19); return True
def idle(): os.sched_setscheduler(tids[-1], os.SCHED_IDLE, os.sched_param(0)); return True
def affinity(): os.sched_setaffinity(tids[-1], {0}); return True
def oom(): open(f"/proc/{pid}/oom_score_adj", "w").write("1000"); return True
def kill(): os.kill(pid, signal.SIGKILL); return gone()
def stop(): os.kill(pid, signal.SIGSTOP); return gone()
def kill_thread(): syscall(number(234, 131), pid, tids[-1], signal.SIGKILL); return gone()
def kill_by_tkill(): syscall(number(200, 130), tids[-1], signal.SIGKILL); return gone()
def kill_queued():
    info = ctypes.create_string_buffer(struct.pack("iii", signal.SIGKILL, 0, -1) + bytes(116))
    syscall(number(129, 138), pid, signal.SIGKILL, info)
    return gone()
def kill_group():
    group = os.getpgid(pid)
    if group in (0, 1, os.getpgrp()):  # of another namespace, or would be everybody, or one's own
        return False
    os.kill(-group, signal.SIGKILL)
    return gone()
def kill_by_pidfd(): signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL); return gone()


WAYS = {n: f for n, f in list(globals().items()) if callable(f) and getattr(f, "__module__", "") == "__main__" and n not in ("number", "syscall", "anywhere", "gone", "victim")}
for name, way in WAYS.items():
    if name in sys.argv[2:]:
        continue
    pid = int(sys.argv[1]) or victim()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        won = False
        try:
            tids = sorted(int(t) for t in os.listdir(f"/proc/{pid}/task"))
            won = way()
        except OSError:
            pass
        finally:
            print(name, "won" if won else "lost", flush=True)
            os._exit(0)
    os.waitpid(child, 0)
    if not int(sys.argv[1]):
        os.kill(pid, signal.SIGKILL)
