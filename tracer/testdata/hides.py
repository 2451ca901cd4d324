"""Makes itself hard to look at, and then twice opens a file and executes a program. Usage: hides.py WAY FILE PROGRAM"""
import ctypes
import os
import sys
import threading

from calls import number, syscall

PRCTL, DUMPABLE = number(157, 167), 4
way, file, program = sys.argv[1:]


def undumpable(upper=0):
    syscall(PRCTL, DUMPABLE | upper, 0)


def another_user():
    os.setgroups([])
    os.setgid(1000)
    os.setuid(1000)


def act():
    for _ in range(2):
        os.close(os.open(file, os.O_RDONLY))
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
            os.execv(program, ["program"])
        os.waitpid(pid, 0)


if way == "undumpable":
    undumpable()
elif way == "upper half":
    undumpable(1 << 32)
elif way == "user":
    another_user()
elif way == "user and undumpable":
    undumpable()
    another_user()
elif way in ("undumpable child", "user's child"):
    undumpable() if way == "undumpable child" else another_user()
    if os.fork():
        os.wait()
        os._exit(0)
elif way == "capabilities":
    syscall(number(126, 91), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
if way == "thread":
    undumpable()
    t = threading.Thread(target=act)
    t.start()
    t.join()
else:
    act()
