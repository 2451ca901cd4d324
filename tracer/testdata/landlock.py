"""Landlock: a process forbids itself to open what its ruleset does not name. Usage: landlock.py"""
import ctypes
import os
import struct
import threading

from calls import child, contents, libc, opened, put, say, syscall

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, MAKE_REG, TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 8, 1 << 14
CREATE, ADD, RESTRICT, NO_NEW_PRIVS = 444, 445, 446, 38


def ruleset(handled, *allowed):
    r = syscall(CREATE, ctypes.create_string_buffer(struct.pack("Q", handled), 8), 8, 0)
    for path, access in allowed:
        fd = os.open(path, os.O_PATH)
        syscall(ADD, r, 1, ctypes.create_string_buffer(struct.pack("=Qi", access, fd), 12), 0)
    libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    return r


def restrict(handled, *allowed):
    syscall(RESTRICT, ruleset(handled, *allowed), 0)
    return "restricted"


def look(label):
    for path in ("allowed/f", "denied/f", "allowed/../denied/f", "allowed/link", "/proc/self/cwd/denied/f", "/etc/passwd", "/proc/self/status"):
        say(f"{label}, read {path}", opened, path)
        if path[0] != "/":
            say(f"{label}, write {path}", opened, path, os.O_WRONLY)
            say(f"{label}, cut {path}", opened, path, os.O_WRONLY | os.O_TRUNC)
    for path in ("allowed/new", "denied/new"):
        say(f"{label}, make {path}", opened, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.path.exists(path) and say("unlink", os.unlink, path)
    for path in ("allowed", "denied"):
        say(f"{label}, list {path}", lambda: len(os.listdir(path)))
        say(f"{label}, unnamed in {path}", opened, path, os.O_TMPFILE | os.O_RDWR)
    say(f"{label}, execute", lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"]))


def nothing():
    say("all", restrict, WRITE_FILE | READ_FILE | MAKE_REG)
    look("nothing")
    child(lambda: look("its child"))


def some():
    say("some", restrict, WRITE_FILE | READ_FILE | MAKE_REG, ("allowed", WRITE_FILE | READ_FILE | MAKE_REG), ("/usr", READ_FILE), ("/lib", READ_FILE), ("/etc", READ_FILE))
    look("some")
    say("more", restrict, WRITE_FILE, ("denied", WRITE_FILE))
    look("both")


def to_read():
    say("to read", restrict, WRITE_FILE | READ_FILE | READ_DIR | MAKE_REG | EXECUTE, ("/", READ_FILE | READ_DIR | EXECUTE))
    look("to read")


def others():
    """Only the thread that asks is restricted, and its children."""
    def thread():
        try:
            say("of the thread", restrict, READ_FILE)
            say("the thread", opened, "denied/f")
        finally:
            go.set()

    go = threading.Event()
    t = threading.Thread(target=thread)
    t.start()
    go.wait()
    say("the process", opened, "denied/f")
    t.join()


def descriptor():
    """What was open before stays open."""
    fd = os.open("denied", os.O_PATH)
    f = os.open("denied/f", os.O_RDONLY)
    restrict(READ_FILE | WRITE_FILE)
    say("by a directory from before", lambda: opened("f", dir_fd=fd))
    say("a file from before", lambda: os.read(f, 4).decode())
    say("that file again", opened, f"/proc/self/fd/{f}")
    say("by exec", lambda: os.spawnv(os.P_WAIT, "/bin/cat", ["cat", "denied/f"]))


def main():
    for name in ("allowed", "denied"):
        os.mkdir(name)
        put(name + "/f")
    os.symlink("../denied/f", "allowed/link")
    abi = say("version", lambda: syscall(CREATE, None, 0, 1) > 0)
    if abi is not True:
        return
    for f in (nothing, some, to_read, others, descriptor):
        print("==", f.__name__)
        print(child(f))
    look("the parent")


main()
