"""Makes processes and threads until there may be no more, and goes on opening files. The limit is of a
user, whose the tracer is as well. Usage: crowd.py SECRET ERROR: what becomes of opening that file"""
import errno
import os
import signal
import sys

from calls import name_of, opened, say

secret, becomes = sys.argv[1:]
os.mkfifo("pipe")


def crowd(f):
    """Forks until that fails; each child does f."""
    children = []
    while len(children) < 1000:
        try:
            pid = os.fork()
        except OSError as e:
            print("no more:", name_of(e), flush=True)
            return children
        if pid == 0:
            try:
                f()
            finally:
                os._exit(0)
        children.append(pid)


def end(children):
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


def wait():
    try:
        os.open("pipe", os.O_RDONLY)
    except OSError as e:
        if e.errno != errno.ENOMEM:  # of the tracer, which has no thread for it
            print("wait:", name_of(e), flush=True)
        signal.pause()


def look(label):
    failed = {}
    for i in range(200):
        for name, want in (("/etc/passwd", "opened"), ("no/such", "ENOENT"), (secret, becomes)):
            try:
                came = opened(name)
            except OSError as e:
                came = name_of(e)
            if came != want:
                failed[came] = failed.get(came, 0) + 1
    print(label, failed, flush=True)
    # Who does not have to wait needs no room.
    say(label + ", read a pipe", opened, "pipe", os.O_RDONLY | os.O_NONBLOCK)
    say(label + ", write a pipe", lambda: os.open("pipe", os.O_RDWR) and opened("pipe", os.O_WRONLY))


for label, f in (("asleep", signal.pause), ("waiting", wait)):
    children = crowd(f)
    look(label)
    end(children)
    say(label + ", afterwards", lambda: os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1]))
    pid = os.fork()
    if pid == 0:
        os.open("pipe", os.O_RDONLY)
        os._exit(0)
    say(label + ", a pipe", opened, "pipe", os.O_WRONLY)
    print(os.waitpid(pid, 0)[1], flush=True)
