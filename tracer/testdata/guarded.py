"""Attacks each thread of a process, by number, with what takes resources or secrets from it, in each way that the calls can be
written. Usage: guarded.py PID; prints the calls that succeeded, with how many threads and how."""
import ctypes
import os
import struct
import sys

from calls import number, syscall

pid = int(sys.argv[1])
tids = sorted(int(t) for t in os.listdir(f"/proc/{pid}/task"))
# In the upper half of a register is nothing that the kernel looks at.
HALVES = {"": 0, ", upper half": 1 << 32, ", negative upper half": 0xFFFFFFFF << 32}
buffer = ctypes.create_string_buffer(256)
limit = ctypes.create_string_buffer(struct.pack("QQ", 64, 64))
mask = ctypes.create_string_buffer(struct.pack("Q", 1))
param = ctypes.create_string_buffer(struct.pack("i", 0))
attr = ctypes.create_string_buffer(struct.pack("IIQiIQQQ", 48, 3, 0, 19, 0, 0, 0, 0))
iov = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(buffer), 8))
remote = ctypes.create_string_buffer(struct.pack("QQ", 0x400000, 8))
CALLS = {
    "prlimit64": lambda t, h: syscall(number(302, 261), t | h, 7, limit, None),
    "setpriority": lambda t, h: syscall(number(141, 140), 0 | h, t | h, 10),
    "ioprio_set": lambda t, h: syscall(number(251, 30), 1 | h, t | h, 3 << 13),
    "sched_setparam": lambda t, h: syscall(number(142, 118), t | h, param),
    "sched_setscheduler": lambda t, h: syscall(number(144, 119), t | h, 3, param),
    "sched_setaffinity": lambda t, h: syscall(number(203, 122), t | h, 8, mask),
    "sched_setattr": lambda t, h: syscall(number(314, 274), t | h, attr, 0),
    "migrate_pages": lambda t, h: syscall(number(256, 238), t | h, 8, mask, mask),
    "move_pages": lambda t, h: syscall(number(279, 239), t | h, 0, None, None, None, 0),
    "process_vm_readv": lambda t, h: syscall(number(310, 270), t | h, iov, 1, remote, 1, 0),
    "process_vm_writev": lambda t, h: syscall(number(311, 271), t | h, iov, 1, remote, 1, 0),
    "kcmp": lambda t, h: syscall(number(312, 272), os.getpid() | h, t | h, 1, 0, 0),
    "kcmp, first": lambda t, h: syscall(number(312, 272), t | h, os.getpid() | h, 1, 0, 0),
    "ptrace": lambda t, h: syscall(number(101, 117), 16 | h, t | h, 0, 0),
    "seize": lambda t, h: syscall(number(101, 117), 0x4206 | h, t | h, 0, 0),
    "get_robust_list": lambda t, h: syscall(number(274, 100), t | h, buffer, buffer),
    "perf_event_open": lambda t, h: syscall(number(298, 241), attr, t | h, -1, -1, 0),
}
for name, call in CALLS.items():
    for label, half in HALVES.items():
        done = 0
        for t in tids:
            try:
                r = call(t, half)
                done += 1
                name == "perf_event_open" and os.close(r)
                name in ("ptrace", "seize") and syscall(number(101, 117), 17, t, 0, 0)
            except OSError:
                pass
        if done:
            print(f"{name}{label}: {done} of {len(tids)} threads")
def look(where, file, flags):
    try:
        os.close(os.open(f"{where}/{file}", flags))
        found.add(f"opened {'a thread' if where != f'/proc/{pid}' else 'the process'}'s {file}{' to write' * flags}")
    except OSError:
        pass


found = set()
# What is left out takes nothing: comm, sched, loginuid and uid_map open to root, and refuse what is written.
for where in [f"/proc/{pid}"] + [f"/proc/{pid}/task/{t}" for t in tids] + [f"/proc/{t}" for t in tids[1:]]:
    for file in ("mem", "oom_score_adj", "oom_adj", "timerslack_ns", "clear_refs", "coredump_filter", "autogroup", "setgroups", "attr/current", "make-it-fail"):
        look(where, file, os.O_WRONLY)
    for file in ("mem", "environ", "maps", "smaps", "auxv", "pagemap", "stack", "syscall", "io", "fd/0", "root/etc/passwd", "cwd/.", "map_files", "personality", "ns/user"):
        look(where, file, os.O_RDONLY)
print("\n".join(sorted(found)))
print("tried", len(tids) > 3)
