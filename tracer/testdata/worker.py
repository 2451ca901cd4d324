"""A server's worker: root makes what only root can, becomes another user, and works on. Usage: worker.py [SECTION…]"""
import os
import socket
import sys
import threading

from calls import child, contents, libc, opened, put, say

DUMPABLE = 4


def become(uid=1000):
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def start(program="/bin/true", *args):
    pid = os.fork()
    if pid == 0:
        try:
            os.execv(program, [program, *args])
        except OSError as e:
            print("exec:", e.strerror, flush=True)
            os._exit(9)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def work(label):
    print("==", label, flush=True)
    here = os.getcwd()
    say("absolute", opened, f"{here}/f")
    say("relative", opened, "f")
    os.chdir("d")
    say("after chdir", opened, "in")
    say("up", opened, "../f")
    say("to write", opened, "in", os.O_WRONLY)
    say("shared", put, "../shared/made")
    say("owner", lambda: os.stat("../shared/made").st_uid)
    os.path.exists("../shared/made") and os.unlink("../shared/made")
    fd = os.open(here, os.O_DIRECTORY)
    say("by a descriptor", lambda: opened("f", dir_fd=fd))
    os.fchdir(fd)
    say("after fchdir", opened, "f")
    say("roots", opened, "roots")
    say("by a descriptor from before", lambda: opened("in", dir_fd=BEFORE))
    say("proc", contents, "/proc/self/comm")
    say("fd", opened, f"/proc/self/fd/{fd}")
    say("cwd", opened, "/proc/self/cwd/f")
    say("environment", lambda: len(contents("/proc/self/environ")) > 0)
    s = socket.socket()
    say("connect", lambda: s.connect(SERVER.getsockname()) or "connected")
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    say("udp", lambda: u.connect(("127.0.0.1", 9)) or "connected")
    x = socket.socket(socket.AF_UNIX)
    say("unix", lambda: x.connect("sock") or "connected")
    say("exec", start)
    say("exec that opens", start, "/bin/cat", "f")
    say("exec of a script", start, "./script")
    say("exec that is not there", start, "./no")
    say("exec that may not be", start, "./roots")
    t = threading.Thread(target=lambda: say("in a thread", opened, "f"))
    t.start()
    t.join()


def plain():
    become()
    work("worker")


def workers():
    for uid in (1000, 1001, 1000):
        child(lambda: (become(uid), say(f"worker {uid}", opened, "f"), say("exec", start)) and 0)
    say("the master", opened, "roots")
    say("exec of the master", start)


def grandchild():
    become()
    child(lambda: work("worker's child"))


def hidden():
    libc.prctl(DUMPABLE, 0, 0, 0, 0)
    work("not dumpable, root")
    become()
    work("not dumpable")
    child(lambda: work("its child"))


def shown():
    become()
    libc.prctl(DUMPABLE, 1, 0, 0, 0)
    work("dumpable again")


def and_back():
    os.setegid(1000)
    os.seteuid(1000)
    work("for a time")
    os.seteuid(0)
    os.setegid(0)
    work("root again")


def saved():
    os.setresgid(1000, 1000, 0)
    os.setresuid(1000, 1000, 0)
    work("with a saved id")


def detached():
    become()
    child(lambda: (os.setsid(), work("a daemon")) and 0)


SERVER = socket.socket()
SERVER.bind(("127.0.0.1", 0))
SERVER.listen(50)
os.umask(0o022)
os.chmod(".", 0o755)
for d in ("d", "shared"):
    os.mkdir(d)
os.chmod("shared", 0o1777)
put("f")
put("d/in")
os.chmod("d/in", 0o666)
put("roots")
os.chmod("roots", 0o600)
put("script", "#!/bin/sh\necho from a script\n")
os.chmod("script", 0o755)
UNIX = socket.socket(socket.AF_UNIX)
UNIX.bind("sock")
UNIX.listen(50)
os.chmod("sock", 0o777)
BEFORE = os.open("d", os.O_DIRECTORY)
SECTIONS = (plain, workers, grandchild, hidden, shown, and_back, saved, detached)
for f in [f for f in SECTIONS if len(sys.argv) < 2 or f.__name__ in sys.argv]:
    print("====", f.__name__)
    print(child(f))
